/**
 * Looking after NVMe controllers: what stands in the driver's way, binding and giving back, what a controller says of
 * itself.
 *
 * @module
 */
import { StorageError } from "../core/base/errors.ts";
import { parseNvmeAddress } from "./nvme/address.ts";
import { type BindOutcome, bindToVfio, unbindFromVfio } from "./nvme/bind.ts";
import { examine, type Finding } from "./nvme/doctor.ts";
import { realEnvironment } from "./nvme/environment.ts";
import {
  type ControllerIdentity,
  type NamespaceIdentity,
  readControllerIdentity,
  readNamespaceIdentity,
  readNamespaceList,
} from "./nvme/identify.ts";
import { type AdminReader, CNS, KernelAdmin } from "./nvme/kernel_admin.ts";
import { doctorContext, machine } from "./nvme/machine.ts";
import { nvmeAddresses, type PciFacts, pciFacts, VFIO_DRIVER } from "./nvme/pci.ts";
import { PAGE_BYTES } from "./nvme/registers.ts";
import { identifyText, type ListRow, listText, smartText } from "./nvme/text.ts";
import { acquireController, releaseController } from "./nvme/worker_controllers.ts";

export type { BindOutcome } from "./nvme/bind.ts";
export type { Finding } from "./nvme/doctor.ts";
export { type NvmeStatus, NvmeStatusError } from "./nvme/status.ts";

/** What the doctor found at one address. */
export interface Diagnosis {
  /** PCI address. */
  readonly address: string;
  /** In the order in which to mend them. */
  readonly findings: readonly Finding[];
}

/** SMART / Health Information: log page 2, 512 bytes. */
const SMART_PAGE = 2;
const SMART_BYTES = 512;

/**
 * Says of one controller, or of all of this machine, what keeps the driver from using it and how to mend that. Changes
 * nothing. Needs `--allow-ffi` and `--allow-read` for the C helper. Throws RangeError for what is no PCI address, and
 * StorageError of kind `open` when there is no such device, or none at all.
 */
export function nvmeDoctor(address?: string): Diagnosis[] {
  const addresses = address === undefined ? nvmeAddresses(machine) : [address];
  if (addresses.length === 0) {
    const detail = "no PCI device has the class of NVMe controllers; wanted one";
    throw new StorageError({ kind: "open", op: "examine", target: "this machine", detail });
  }
  const context = doctorContext();
  return addresses.map((each) => {
    const facts = factsOf(each, "examine");
    return { address: facts.address, findings: examine(facts, machine, context) };
  });
}

/**
 * Binds a controller to vfio-pci, unless that would take something away that is in use. Needs to be root. Throws
 * StorageError with the reason; nothing has changed then.
 */
export function nvmeBind(address: string): BindOutcome {
  return bindToVfio(factsOf(address, "bind"), machine);
}

/** Gives a controller back to the kernel's driver. Needs to be root. Throws StorageError with the reason. */
export function nvmeUnbind(address: string): BindOutcome {
  return unbindFromVfio(factsOf(address, "unbind"), machine);
}

/** Identify Controller as text, as nvme-cli prints it. A controller bound to vfio-pci is started for it. */
export function nvmeIdentify(address: string): Promise<string> {
  return withAdmin(factsOf(address, "identify"), async (admin) => identifyText(await admin.identify(CNS.controller)));
}

/** The SMART log as text, as nvme-cli prints it. A controller bound to vfio-pci is started for it. */
export function nvmeSmart(address: string): Promise<string> {
  const facts = factsOf(address, "read the health of");
  return withAdmin(facts, async (admin) => {
    const log = await admin.logPage(SMART_PAGE, SMART_BYTES);
    return smartText(log, facts.controller ?? facts.address);
  });
}

/** What a list of controllers came to. */
export interface NvmeList {
  /** The table, as nvme-cli prints it. */
  readonly text: string;
  /** One sentence for each controller that could not be asked. */
  readonly failures: readonly string[];
}

/** All namespaces of all controllers of this machine, those bound to vfio-pci included. */
export async function nvmeList(): Promise<NvmeList> {
  const rows: ListRow[] = [];
  const failures: string[] = [];
  for (const address of nvmeAddresses(machine)) {
    try {
      const facts = factsOf(address, "list");
      rows.push(...await withAdmin(facts, (admin) => rowsOf(facts, admin)));
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      failures.push(error.message);
    }
  }
  return { text: listText(rows), failures };
}

async function rowsOf(facts: PciFacts, admin: AdminReader): Promise<ListRow[]> {
  const controller = readControllerIdentity(await admin.identify(CNS.controller), null, PAGE_BYTES);
  const rows: ListRow[] = [];
  for (const nsid of readNamespaceList(await admin.identify(CNS.activeList))) {
    rows.push(rowOf(facts, controller, readNamespaceIdentity(await admin.identify(CNS.namespace, nsid), nsid)));
  }
  return rows;
}

function rowOf(facts: PciFacts, controller: ControllerIdentity, namespace: NamespaceIdentity): ListRow {
  const { nsid, blockShift, blockCount, usedBlocks, metadataBytes } = namespace;
  const name = facts.controller === null ? null : `${facts.controller}n${nsid}`;
  const blockBytes = 2 ** blockShift;
  return {
    node: name === null ? `nvme:${facts.address}/${nsid}` : `/dev/${name}`,
    generic: name === null ? "-" : `/dev/${name.replace("nvme", "ng")}`,
    serial: controller.serial,
    model: controller.model,
    nsid,
    usedBytes: usedBlocks * blockBytes,
    sizeBytes: blockCount * blockBytes,
    blockBytes,
    metadataBytes,
    firmware: controller.firmware,
  };
}

function factsOf(text: string, op: string): PciFacts {
  const { address } = parseNvmeAddress(text);
  const facts = pciFacts(address, machine);
  if (facts !== null) return facts;
  const known = nvmeAddresses(machine);
  const wanted = known.length === 0 ? "but there is no NVMe controller" : `wanted ${known.join(", ")}`;
  throw new StorageError({ kind: "open", op, target: address, detail: `there is no such PCI device, ${wanted}` });
}

async function withAdmin<T>(facts: PciFacts, use: (admin: AdminReader) => Promise<T>): Promise<T> {
  if (!facts.isNvme) {
    const detail = `it has class ${facts.deviceClass}; wanted an NVMe controller`;
    throw new StorageError({ kind: "open", op: "ask", target: facts.address, detail });
  }
  if (facts.controller !== null) return await use(new KernelAdmin(`/dev/${facts.controller}`));
  if (facts.driver !== VFIO_DRIVER) {
    const detail = `it is bound to ${facts.driver ?? "no driver"}; wanted nvme or ${VFIO_DRIVER}`;
    throw new StorageError({ kind: "open", op: "ask", target: facts.address, detail });
  }
  const owner = await acquireController(facts.address, realEnvironment);
  try {
    const { controller } = owner;
    return await use({
      identify: (cns, nsid) => controller.tasks.run(controller.identifyPage(cns, nsid)),
      logPage: (id, byteLength) => controller.tasks.run(controller.logPage(id, byteLength)),
    });
  } finally {
    await releaseController(facts.address, owner);
  }
}
