/**
 * Work on a controller that has to wait for the device, in steps: a generator yields where there is nothing to do yet.
 * The event loop drives it with pauses, a Worker that blocks drives it in a loop, a test step by step.
 */
export type Steps<T> = Generator<void, T, void>;

interface Task {
  readonly steps: Steps<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Milliseconds between two steps when the event loop drives. */
const STEP_MS = 1;

/** Runs tasks one after the other: a controller has one admin queue, and its life is a sequence. */
export class TaskList {
  readonly #tasks: Task[] = [];
  #timer: ReturnType<typeof setTimeout> | null = null;
  #stepping = false;

  /** True while a task is not done. */
  get busy(): boolean {
    return this.#tasks.length > 0;
  }

  /** Runs `steps` after the tasks before it; resolves to its value. */
  run<T>(steps: Steps<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#tasks.push({ steps, resolve: resolve as (value: unknown) => void, reject });
      this.advance();
    });
  }

  /** Lets the first task go as far as it can, and sees to it that it goes on; harmless when there is none. */
  advance(): void {
    if (this.#stepping) return;
    this.#stepping = true;
    try {
      for (let task = this.#tasks[0]; task !== undefined && this.#step(task); task = this.#tasks[0]) {
        this.#tasks.shift();
      }
    } finally {
      this.#stepping = false;
    }
    if (!this.busy || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.advance();
    }, STEP_MS);
  }

  #step(task: Task): boolean {
    try {
      const { done, value } = task.steps.next();
      if (done === true) task.resolve(value);
      return done === true;
    } catch (error) {
      task.reject(error);
      return true;
    }
  }
}
