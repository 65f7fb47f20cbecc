/** What the exit status of the command line means. */
export const ExitCode = {
  /** The run finished and no I/O failed. */
  ok: 0,
  /** The environment, the target or an I/O failed. */
  failed: 1,
  /** The command line itself is wrong. */
  misuse: 2,
  /** Ended by SIGINT or SIGTERM; results so far were printed. */
  interrupted: 130,
} as const;

/** One of the values of {@link ExitCode}. */
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];
