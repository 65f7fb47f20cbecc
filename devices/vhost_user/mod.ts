/**
 * vhost-user, back-end side: the messages, the passing of descriptors, the life of a session and of its rings. Takes any
 * virtio device model.
 *
 * @module
 */
export { Channel, type Message, ProtocolError } from "./channel.ts";
export type { FileRange, QueueHost, QueueSpec, RegionSpec } from "./host.ts";
export { LocalHost, type LocalHostOptions, type Log } from "./local_host.ts";
export { Refusal } from "./payload.ts";
export { VhostUserServer } from "./server.ts";
export { Session, type SessionOptions } from "./session.ts";
export { checkPort, type HostPort, offerHost, WorkerHosts, workerIsGone } from "./worker_hosts.ts";
