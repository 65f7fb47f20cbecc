/** Holds, or does not hold, its process open by a wake-up: `wakeup.ts WAY ref|unref|wake|dispose`. */
import { newEventFd, signalEventFd } from "../../../ffi/libc/mod.ts";
import { eventFdWakeup, socketpairWakeup, threadWakeup, type Wakeup } from "../../../ffi/wakeup.ts";
import { signalSocket } from "../signal_socket.ts";

const [way, action] = Deno.args;
const say = (text: string) => void Deno.stdout.writeSync(new TextEncoder().encode(text + "\n"));

let signal: () => void;
let wakeup: Wakeup;
const onWake = () => {
  say("woken");
  wakeup.unref();
};
if (way === "pipe handle") {
  const fd = newEventFd();
  wakeup = eventFdWakeup(fd, onWake)!;
  signal = () => signalEventFd(fd);
} else if (way === "thread") {
  const thread = threadWakeup(onWake);
  wakeup = thread;
  signal = () => signalEventFd(thread.fd);
} else {
  const pair = socketpairWakeup(onWake);
  wakeup = pair;
  signal = () => signalSocket(pair.sendFd);
}
say(wakeup.way);
if (action === "ref") wakeup.ref();
if (action === "wake") {
  // Only the reference keeps the loop open until the wake-up has come: an unreferenced timer does not.
  wakeup.ref();
  Deno.unrefTimer(setTimeout(signal, 20));
  signal();
}
if (action === "dispose") {
  wakeup.ref();
  wakeup[Symbol.dispose]();
}
say("end of module");
