/** Entries of the admin queues: one command of a task, a few aborts, one event request. */
export const ADMIN_ENTRIES = 32;

/** Entries of a pair of I/O queues unless asked otherwise: 127 commands in flight. */
export const DEFAULT_ENTRIES = 128;
