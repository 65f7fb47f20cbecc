/** What waits for a signal: linked into the list of its signal, so that joining and leaving take one step each. */
export interface Abortable {
  /** The list that it is in, or null. */
  watch: SignalWatch | null;
  /** Neighbours in that list. */
  before: Abortable | null;
  /** The other one. */
  after: Abortable | null;
}

/** One signal and all that waits for it. */
export class SignalWatch {
  /** The signal. */
  readonly signal: AbortSignal;
  /** The one that has waited longest, or null. */
  first: Abortable | null = null;
  /** The one that came last. */
  last: Abortable | null = null;
  /** The listener at the signal. */
  readonly listener: () => void;

  /** Makes an empty list; `listener` is not added to the signal yet. */
  constructor(signal: AbortSignal, listener: () => void) {
    this.signal = signal;
    this.listener = listener;
  }
}

/**
 * The signals that requests of one device wait for. A signal that any number of requests share has one listener, which
 * goes with the last of them: adding and removing one searches all that there are.
 */
export class Signals {
  readonly #watches = new Map<AbortSignal, SignalWatch>();
  readonly #giveUp: (item: Abortable, reason: unknown) => void;

  /** `giveUp` is called for each that waits when its signal fires; it has left the list by then. */
  constructor(giveUp: (item: Abortable, reason: unknown) => void) {
    this.#giveUp = giveUp;
  }

  /** Signals that something waits for. */
  get size(): number {
    return this.#watches.size;
  }

  /** Lets `item` wait for `signal`, which has not fired yet. */
  join(item: Abortable, signal: AbortSignal): void {
    const watch = this.#watches.get(signal) ?? this.#listen(signal);
    item.watch = watch;
    item.before = watch.last;
    if (watch.last === null) watch.first = item;
    else watch.last.after = item;
    watch.last = item;
  }

  /** Ends the wait of `item`, if it waits. */
  leave(item: Abortable): void {
    const { watch, before, after } = item;
    if (watch === null) return;
    if (before === null) watch.first = after;
    else before.after = after;
    if (after === null) watch.last = before;
    else after.before = before;
    item.watch = item.before = item.after = null;
    if (watch.first !== null) return;
    this.#watches.delete(watch.signal);
    watch.signal.removeEventListener("abort", watch.listener);
  }

  #listen(signal: AbortSignal): SignalWatch {
    const watch = new SignalWatch(signal, () => this.#fire(watch));
    signal.addEventListener("abort", watch.listener);
    this.#watches.set(signal, watch);
    return watch;
  }

  /** What begins to wait meanwhile has to see for itself that the signal has fired. */
  #fire(watch: SignalWatch): void {
    const { reason } = watch.signal;
    for (let item = watch.first; item !== null; item = watch.first) {
      this.leave(item);
      try {
        this.#giveUp(item, reason);
      } catch (error) {
        // One that cannot be cancelled must not keep the others waiting.
        reportError(error);
      }
    }
  }
}
