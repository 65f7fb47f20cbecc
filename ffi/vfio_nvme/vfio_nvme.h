/*
 * What JavaScript cannot promise for an NVMe controller in user space: 32-bit MMIO with barriers, the VFIO system
 * calls, and a reset when the owner is gone. Policy (queues, commands, addresses) stays in TypeScript.
 *
 * Every function returns 0 or -errno. A handle belongs to the thread that opened it.
 */
#ifndef VFIO_NVME_H
#define VFIO_NVME_H

#include <stdint.h>

#define VNV_MAX_RANGES 16
#define VNV_MAX_VECTORS 32

/* vnv_open: use the container of type 1 although the kernel has iommufd */
#define VNV_NO_IOMMUFD 1u

/* vnv_info.backend */
#define VNV_TYPE1 1u
#define VNV_IOMMUFD 2u

/* vnv_info.stage: what vnv_open was doing when it failed */
enum vnv_stage {
  VNV_STAGE_ADDRESS = 1, /* the PCI address is malformed, or there is no such device */
  VNV_STAGE_GROUP,       /* the device is in no IOMMU group */
  VNV_STAGE_DRIVER,      /* no /dev/vfio node: the device is not bound to vfio-pci */
  VNV_STAGE_CONTAINER,   /* /dev/vfio/vfio or /dev/iommu */
  VNV_STAGE_OPEN,        /* opening the group's or the device's node */
  VNV_STAGE_VIABLE,      /* a device of the group is bound to another driver */
  VNV_STAGE_ATTACH,      /* attaching group or device to the IOMMU */
  VNV_STAGE_DEVICE,      /* asking the device for its regions and interrupts */
  VNV_STAGE_BAR,         /* mapping the registers */
  VNV_STAGE_READY,
};

struct vnv_range {
  uint64_t first;
  uint64_t last;
};

/* What vnv_open found; `stage` is valid also when it fails. */
struct vnv_info {
  uint32_t stage;
  uint32_t backend;
  uint32_t bar_bytes;
  uint32_t vector_count;
  uint32_t mapping_limit; /* DMA mappings that the container takes, 0 where unknown */
  uint32_t range_count;   /* IOVA ranges in `ranges`; 0 where the kernel does not tell */
  struct vnv_range ranges[VNV_MAX_RANGES];
};

struct vnv;

int vnv_open(const char *address, uint32_t flags, struct vnv **handle, struct vnv_info *info);
/* Bus mastering off, function reset, everything unmapped and closed; the handle is gone, also on an error. */
int vnv_close(struct vnv *handle);

int vnv_load32(struct vnv *handle, uint32_t offset, uint32_t *value);
/* Stores of this thread to memory are visible to the device before this one. */
int vnv_store32(struct vnv *handle, uint32_t offset, uint32_t value);

int vnv_map(struct vnv *handle, const void *memory, uint64_t bytes, uint64_t iova);
int vnv_unmap(struct vnv *handle, uint64_t bytes, uint64_t iova);

/* MSI-X vectors first .. first+count-1 signal these eventfds; -1 for none. The first call sets the number of vectors. */
int vnv_vectors(struct vnv *handle, uint32_t first, uint32_t count, const int32_t *eventfds);
/* The kernel signals this eventfd, -1 for none, when it wants the device back; it waits until the handle is closed. */
int vnv_on_request(struct vnv *handle, int32_t eventfd);
/* Waits at most timeout_ms for an eventfd; *count is what it held, 0 when the time was up. */
int vnv_wait(int eventfd, int timeout_ms, uint64_t *count);

int vnv_bus_master(struct vnv *handle, int on);
/* Function level reset, where the device has one (-ENOTTY where it has not). */
int vnv_reset(struct vnv *handle);

#endif
