/**
 * A disk served over NBD: clients, requests, replies.
 *
 * @module
 */
export { NbdDisk, type NbdServeStats } from "./disk.ts";
export { NbdServer } from "./server.ts";
