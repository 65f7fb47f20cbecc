/** A Worker in the guest that opens the controller, or keeps it busy until it is terminated. */
import { openDevice } from "../../../../mod.ts";
import { hammer } from "./hammer.ts";

interface Order {
  readonly task: string;
  readonly address: string;
}

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<Order>) => void) | null;
  postMessage(message: string): void;
};

scope.onmessage = ({ data: { task, address } }) => {
  const work = task === "open"
    ? openDevice(`nvme:${address}/1`).then((disk) => disk.close()).then(() => "opened")
    : hammer(address, () => scope.postMessage("running")).then(() => "done");
  work.then((answer) => scope.postMessage(answer), (error: Error) => scope.postMessage(error.message));
};
