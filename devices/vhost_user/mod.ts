/**
 * vhost-user, back-end side: the messages, the passing of descriptors, the life of a session and of its rings. Takes any
 * virtio device model.
 *
 * @module
 */
export { Channel, type Message, ProtocolError } from "./channel.ts";
export type { FileRange, QueueSpec, RegionSpec, VringBackend } from "./vring_backend.ts";
export { type InThreadOptions, InThreadVringBackend, type Log } from "./in_thread_vrings.ts";
export { Refusal } from "./payload.ts";
export { VhostUserServer } from "./server.ts";
export { Session, type SessionOptions } from "./session.ts";
export { checkPort, offerVrings, type VringPort, VringWorkers, workerIsGone } from "./worker_vrings.ts";
