/**
 * NBD servers for tests. They live with the benches, which may not import from here.
 *
 * @module
 */
export { hasNbdkit, hasQemuNbd, type NbdkitOptions, NbdServer } from "../../bench/nbd_server.ts";
