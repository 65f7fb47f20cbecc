import { plug, unplug } from "../plug/plug.ts";
import { type IoRequest, RequestState, unhold } from "../request/request.ts";

/**
 * Requests whose result is known and whose callback is owed. Two lists swap roles, so that callbacks that finish
 * further requests fill the next round, and nothing is allocated on the steady path.
 */
export class CompletedList {
  #requests: (IoRequest | null)[] = [];
  #spare: (IoRequest | null)[] = [];
  #count = 0;

  /** Requests that wait for their callback. */
  get count(): number {
    return this.#count;
  }

  /** Adds a request; its `result` is set. */
  add(request: IoRequest): void {
    this.#requests[this.#count++] = request;
  }

  /** Passes the requests that are in the list now to `deliver`, in order and at most `limit`; returns how many. */
  take(deliver: (request: IoRequest) => void, limit = Infinity): number {
    const requests = this.#requests;
    const all = this.#count;
    const count = Math.min(all, limit);
    this.#requests = this.#spare;
    this.#spare = requests;
    this.#count = 0;
    for (let index = count; index < all; index++) {
      this.add(requests[index]!);
      requests[index] = null;
    }
    for (let index = 0; index < count; index++) {
      const request = requests[index]!;
      requests[index] = null;
      deliver(request);
    }
    return count;
  }

  /** Takes in a section of its own, so that what the callbacks submit goes out together. */
  takePlugged(deliver: (request: IoRequest) => void, limit = Infinity): number {
    plug();
    const count = this.take(deliver, limit);
    try {
      unplug();
    } catch (error) {
      // A deferred call of another queue: it must not keep the queue from submitting what is left.
      reportError(error);
    }
    return count;
  }
}

/**
 * Gives a finished request back to its owner and calls back. What the callback throws is reported as an uncaught error
 * of the Worker: it must not keep other completions from being delivered.
 */
export function completeRequest(request: IoRequest): void {
  unhold(request);
  request.state = RequestState.idle;
  try {
    request.onComplete(request, request.result);
  } catch (error) {
    reportError(error);
  }
}
