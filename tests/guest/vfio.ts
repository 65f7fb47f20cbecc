/**
 * Hands a PCI device of the guest to VFIO and back, as lines of shell for the guest's command.
 *
 * @module
 */

/** What VFIO takes in the guest; what they need is loaded with them. A job that uses them also wants `iommu`. */
export const VFIO_MODULES: readonly string[] = ["vfio_iommu_type1", "vfio-pci"];

/** Takes the device from its driver and binds it to vfio-pci. It stays there until {@link giveBack}. */
export function handToVfio(address: string): string {
  return rebind(address, "vfio-pci");
}

/** Takes the device from vfio-pci and lets the kernel choose its driver again. */
export function giveBack(address: string): string {
  // A line feed clears the override.
  return rebind(address, "");
}

function rebind(address: string, driver: string): string {
  const device = `/sys/bus/pci/devices/${address}`;
  return `echo '${driver}' >${device}/driver_override && ` +
    `if [ -e ${device}/driver ]; then echo ${address} >${device}/driver/unbind; fi && ` +
    `echo ${address} >/sys/bus/pci/drivers_probe`;
}
