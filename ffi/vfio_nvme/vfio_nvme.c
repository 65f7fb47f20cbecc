#define _GNU_SOURCE
#include "vfio_nvme.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* iommufd came with Linux 6.2, the device node that goes with it (VFIO_DEVICE_BIND_IOMMUFD) with 6.6. */
#if defined(__has_include) && defined(VFIO_DEVICE_BIND_IOMMUFD)
#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#define HAS_IOMMUFD 1
#endif
#endif

struct vnv {
  struct vnv *next; /* handles of one thread */
  int container;    /* /dev/vfio/vfio or /dev/iommu */
  int group;        /* -1 with iommufd */
  int device;
  uint32_t backend;
  uint32_t ioas; /* iommufd's address space */
  uint32_t device_flags;
  uint32_t vector_count;
  volatile uint8_t *bar;
  uint64_t bar_bytes;
  uint64_t config_offset;
};

/*
 * A Deno Worker that is terminated runs no code of ours any more, and its descriptors stay open with the process. The
 * end of its thread does run this: the controller is reset and cannot write to memory. The library is linked
 * with -z nodelete, so that the code is still there.
 */
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error;

static void close_all(void *first) {
  for (struct vnv *each = first, *next; each != NULL; each = next) {
    next = each->next;
    pthread_setspecific(key, next);
    vnv_close(each);
  }
}

static void make_key(void) { key_error = pthread_key_create(&key, close_all); }

/* ioctl that is not interrupted. The kernel's numbers are unsigned int. */
static int call(int fd, unsigned int request, void *argument) {
  int result;
  do result = ioctl(fd, (unsigned long)request, argument);
  while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : result;
}

static int open_node(const char *path) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

/* dddd:bb:dd.f in hexadecimal digits: nothing else becomes part of a path. */
static int is_address(const char *text) {
  static const char shape[] = "xxxx:xx:xx.x";
  if (strlen(text) != sizeof(shape) - 1) return 0;
  for (size_t i = 0; shape[i] != 0; i++) {
    if (shape[i] == 'x' ? strchr("0123456789abcdef", text[i]) == NULL : text[i] != shape[i]) return 0;
  }
  return 1;
}

static int group_number(const char *address, char *number, size_t bytes) {
  char path[PATH_MAX], link[PATH_MAX];
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", address);
  ssize_t length = readlink(path, link, sizeof link - 1);
  if (length < 0) return -errno;
  link[length] = 0;
  const char *name = strrchr(link, '/');
  if (name == NULL || strlen(name + 1) >= bytes) return -EINVAL;
  strcpy(number, name + 1);
  return 0;
}

static void add_range(struct vnv_info *info, uint64_t first, uint64_t last) {
  if (info->range_count < VNV_MAX_RANGES) info->ranges[info->range_count++] = (struct vnv_range){first, last};
}

/* The container's answer is a struct with a chain of capabilities behind it. */
static int read_type1_info(int container, struct vnv_info *info) {
  struct vfio_iommu_type1_info head = {.argsz = sizeof head};
  int error = call(container, VFIO_IOMMU_GET_INFO, &head);
  if (error < 0 || head.argsz <= sizeof head) return error < 0 ? error : 0;
  uint32_t bytes = head.argsz;
  uint8_t *all = calloc(1, bytes);
  if (all == NULL) return -ENOMEM;
  memcpy(all, &bytes, sizeof bytes);
  error = call(container, VFIO_IOMMU_GET_INFO, all);
  if (error >= 0) memcpy(&head, all, sizeof head);
  uint32_t at = error >= 0 && (head.flags & VFIO_IOMMU_INFO_CAPS) ? head.cap_offset : 0;
  while (at != 0 && at + sizeof(struct vfio_info_cap_header) <= bytes) {
    struct vfio_info_cap_header header;
    memcpy(&header, all + at, sizeof header);
    uint32_t number; /* what both capabilities have first: of ranges, or of mappings that are left */
    size_t start = at + sizeof(struct vfio_iommu_type1_info_cap_iova_range);
    if (at + sizeof header + sizeof number > bytes) break;
    memcpy(&number, all + at + sizeof header, sizeof number);
    if (header.id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) info->mapping_limit = number;
    if (header.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
      struct vfio_iova_range range;
      for (; number > 0 && start + sizeof range <= bytes; number--, start += sizeof range) {
        memcpy(&range, all + start, sizeof range);
        add_range(info, range.start, range.end);
      }
    }
    if (header.next <= at) break; /* the chain goes forward, or it has ended */
    at = header.next;
  }
  free(all);
  return error < 0 ? error : 0;
}

static int open_type1(struct vnv *h, const char *address, const char *group, struct vnv_info *info) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "/dev/vfio/%s", group);
  info->stage = VNV_STAGE_DRIVER;
  if (access(path, F_OK) < 0) return -errno;
  info->stage = VNV_STAGE_CONTAINER;
  if ((h->container = open_node("/dev/vfio/vfio")) < 0) return h->container;
  int answer = call(h->container, VFIO_GET_API_VERSION, NULL);
  if (answer != VFIO_API_VERSION) return answer < 0 ? answer : -EPROTO;
  if (call(h->container, VFIO_CHECK_EXTENSION, (void *)(uintptr_t)VFIO_TYPE1v2_IOMMU) != 1) return -EOPNOTSUPP;
  info->stage = VNV_STAGE_OPEN;
  if ((h->group = open_node(path)) < 0) return h->group;
  info->stage = VNV_STAGE_VIABLE;
  struct vfio_group_status status = {.argsz = sizeof status};
  answer = call(h->group, VFIO_GROUP_GET_STATUS, &status);
  if (answer < 0) return answer;
  if ((status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) return -EPERM;
  info->stage = VNV_STAGE_ATTACH;
  if ((answer = call(h->group, VFIO_GROUP_SET_CONTAINER, &h->container)) < 0 ||
      (answer = call(h->container, VFIO_SET_IOMMU, (void *)(uintptr_t)VFIO_TYPE1v2_IOMMU)) < 0 ||
      (answer = read_type1_info(h->container, info)) < 0) return answer;
  info->stage = VNV_STAGE_DEVICE;
  h->device = call(h->group, VFIO_GROUP_GET_DEVICE_FD, (void *)(uintptr_t)address);
  return h->device < 0 ? h->device : 0;
}

#ifdef HAS_IOMMUFD
/* Name of the device's own node: the one entry of its vfio-dev folder. */
static int device_node(const char *address, char *path, size_t bytes) {
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "/sys/bus/pci/devices/%s/vfio-dev", address);
  DIR *entries = opendir(folder);
  if (entries == NULL) return -errno;
  int error = -ENOENT;
  for (struct dirent *entry; error != 0 && (entry = readdir(entries)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    error = snprintf(path, bytes, "/dev/vfio/devices/%s", entry->d_name) < (int)bytes ? 0 : -ENAMETOOLONG;
  }
  closedir(entries);
  return error;
}

static int read_iommufd_ranges(struct vnv *h, struct vnv_info *info) {
  struct iommu_iova_range found[VNV_MAX_RANGES];
  struct iommu_ioas_iova_ranges ask = {
      .size = sizeof ask, .ioas_id = h->ioas, .num_iovas = VNV_MAX_RANGES, .allowed_iovas = (uintptr_t)found};
  int error = call(h->container, IOMMU_IOAS_IOVA_RANGES, &ask);
  /* EMSGSIZE: there are more, and these are the first. */
  if (error < 0 && error != -EMSGSIZE) return error;
  for (uint32_t i = 0; i < ask.num_iovas && i < VNV_MAX_RANGES; i++) add_range(info, found[i].start, found[i].last);
  return 0;
}

static int open_iommufd(struct vnv *h, const char *node, struct vnv_info *info) {
  info->stage = VNV_STAGE_CONTAINER;
  if ((h->container = open_node("/dev/iommu")) < 0) return h->container;
  info->stage = VNV_STAGE_OPEN;
  if ((h->device = open_node(node)) < 0) return h->device;
  info->stage = VNV_STAGE_ATTACH;
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof bind, .iommufd = h->container};
  int error = call(h->device, VFIO_DEVICE_BIND_IOMMUFD, &bind);
  if (error < 0) return error;
  struct iommu_ioas_alloc space = {.size = sizeof space};
  if ((error = call(h->container, IOMMU_IOAS_ALLOC, &space)) < 0) return error;
  h->ioas = space.out_ioas_id;
  struct vfio_device_attach_iommufd_pt attach = {.argsz = sizeof attach, .pt_id = h->ioas};
  if ((error = call(h->device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach)) < 0) return error;
  return read_iommufd_ranges(h, info);
}
#endif

static int map_registers(struct vnv *h, struct vnv_info *info) {
  info->stage = VNV_STAGE_DEVICE;
  struct vfio_device_info device = {.argsz = sizeof device};
  struct vfio_region_info config = {.argsz = sizeof config, .index = VFIO_PCI_CONFIG_REGION_INDEX};
  struct vfio_irq_info irqs = {.argsz = sizeof irqs, .index = VFIO_PCI_MSIX_IRQ_INDEX};
  struct vfio_region_info bar = {.argsz = sizeof bar, .index = VFIO_PCI_BAR0_REGION_INDEX};
  int error;
  if ((error = call(h->device, VFIO_DEVICE_GET_INFO, &device)) < 0 ||
      (error = call(h->device, VFIO_DEVICE_GET_REGION_INFO, &config)) < 0 ||
      (error = call(h->device, VFIO_DEVICE_GET_IRQ_INFO, &irqs)) < 0 ||
      (error = call(h->device, VFIO_DEVICE_GET_REGION_INFO, &bar)) < 0) return error;
  h->device_flags = device.flags;
  h->config_offset = config.offset;
  info->vector_count = irqs.count < VNV_MAX_VECTORS ? irqs.count : VNV_MAX_VECTORS;
  info->stage = VNV_STAGE_BAR;
  if ((bar.flags & VFIO_REGION_INFO_FLAG_MMAP) == 0 || bar.size == 0 || bar.size > UINT32_MAX) return -ENODEV;
  void *registers = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, h->device, (off_t)bar.offset);
  if (registers == MAP_FAILED) return -errno;
  h->bar = registers;
  h->bar_bytes = bar.size;
  info->bar_bytes = (uint32_t)bar.size;
  info->stage = VNV_STAGE_READY;
  return 0;
}

static int attach(struct vnv *h, const char *address, uint32_t flags, struct vnv_info *info) {
  char group[32];
  (void)flags; /* of use with iommufd only */
  info->stage = VNV_STAGE_ADDRESS;
  if (!is_address(address)) return -EINVAL;
  char path[PATH_MAX];
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s", address);
  if (access(path, F_OK) < 0) return -ENODEV;
  info->stage = VNV_STAGE_GROUP;
  int error = group_number(address, group, sizeof group);
  if (error < 0) return error;
#ifdef HAS_IOMMUFD
  if ((flags & VNV_NO_IOMMUFD) == 0 && access("/dev/iommu", R_OK | W_OK) == 0 &&
      device_node(address, path, sizeof path) == 0 && access(path, R_OK | W_OK) == 0) {
    h->backend = VNV_IOMMUFD;
    if ((error = open_iommufd(h, path, info)) < 0) return error;
    info->backend = h->backend;
    return map_registers(h, info);
  }
#endif
  h->backend = VNV_TYPE1;
  if ((error = open_type1(h, address, group, info)) < 0) return error;
  info->backend = h->backend;
  return map_registers(h, info);
}

static void release(struct vnv *h) {
  if (h->bar != NULL) munmap((void *)(uintptr_t)h->bar, h->bar_bytes);
  /* The container last: its end takes all DMA mappings with it. */
  const int fds[] = {h->device, h->group, h->container};
  for (int i = 0; i < 3; i++)
    if (fds[i] >= 0) close(fds[i]);
  free(h);
}

int vnv_open(const char *address, uint32_t flags, struct vnv **handle, struct vnv_info *info) {
  memset(info, 0, sizeof *info);
  if (pthread_once(&key_once, make_key) != 0 || key_error != 0) return -EAGAIN;
  struct vnv *h = calloc(1, sizeof *h);
  if (h == NULL) return -ENOMEM;
  h->container = h->group = h->device = -1;
  int error = attach(h, address, flags, info);
  if (error == 0) {
    h->next = pthread_getspecific(key);
    error = -pthread_setspecific(key, h);
  }
  if (error < 0) {
    release(h);
    return error;
  }
  *handle = h;
  return 0;
}

static void forget(struct vnv *h) {
  struct vnv *first = pthread_getspecific(key);
  if (first == h) pthread_setspecific(key, h->next);
  for (struct vnv *each = first; each != NULL; each = each->next)
    if (each->next == h) each->next = h->next;
}

int vnv_close(struct vnv *h) {
  int error = vnv_bus_master(h, 0), reset = vnv_reset(h);
  if (error == 0 && reset != -ENOTTY) error = reset;
  forget(h);
  release(h);
  return error;
}

int vnv_load32(struct vnv *h, uint32_t offset, uint32_t *value) {
  if (offset % 4 != 0 || offset + 4ull > h->bar_bytes) return -EINVAL;
  *value = *(volatile uint32_t *)(h->bar + offset);
#if defined(__aarch64__)
  __asm__ __volatile__("dmb oshld" ::: "memory"); /* what the device wrote before is seen by loads after this one */
#elif defined(__x86_64__)
  __asm__ __volatile__("" ::: "memory"); /* loads are not reordered with loads; only the compiler has to be told */
#else
#error "Cannot order MMIO on this architecture: wanted x86-64 or arm64"
#endif
  return 0;
}

int vnv_store32(struct vnv *h, uint32_t offset, uint32_t value) {
  if (offset % 4 != 0 || offset + 4ull > h->bar_bytes) return -EINVAL;
#if defined(__aarch64__)
  __asm__ __volatile__("dmb oshst" ::: "memory");
#else
  __asm__ __volatile__("" ::: "memory"); /* stores to write-back memory are ordered before one to uncached memory */
#endif
  *(volatile uint32_t *)(h->bar + offset) = value;
  return 0;
}

int vnv_map(struct vnv *h, const void *memory, uint64_t bytes, uint64_t iova) {
#ifdef HAS_IOMMUFD
  if (h->backend == VNV_IOMMUFD) {
    struct iommu_ioas_map map = {.size = sizeof map,
                                 .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE,
                                 .ioas_id = h->ioas,
                                 .user_va = (uintptr_t)memory,
                                 .length = bytes,
                                 .iova = iova};
    return call(h->container, IOMMU_IOAS_MAP, &map);
  }
#endif
  struct vfio_iommu_type1_dma_map map = {.argsz = sizeof map,
                                         .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                         .vaddr = (uintptr_t)memory,
                                         .iova = iova,
                                         .size = bytes};
  return call(h->container, VFIO_IOMMU_MAP_DMA, &map);
}

int vnv_unmap(struct vnv *h, uint64_t bytes, uint64_t iova) {
#ifdef HAS_IOMMUFD
  if (h->backend == VNV_IOMMUFD) {
    struct iommu_ioas_unmap unmap = {.size = sizeof unmap, .ioas_id = h->ioas, .iova = iova, .length = bytes};
    int error = call(h->container, IOMMU_IOAS_UNMAP, &unmap);
    return error < 0 ? error : unmap.length == bytes ? 0 : -ENOENT;
  }
#endif
  struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof unmap, .iova = iova, .size = bytes};
  int error = call(h->container, VFIO_IOMMU_UNMAP_DMA, &unmap);
  /* The kernel tells how much it unmapped, and success also for nothing. */
  return error < 0 ? error : unmap.size == bytes ? 0 : -ENOENT;
}

static int set_eventfds(struct vnv *h, uint32_t index, uint32_t first, uint32_t count, const int32_t *eventfds) {
  union {
    struct vfio_irq_set head;
    uint8_t bytes[sizeof(struct vfio_irq_set) + VNV_MAX_VECTORS * sizeof(int32_t)];
  } set = {.head = {.argsz = (uint32_t)(sizeof set.head + count * sizeof(int32_t)),
                    .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                    .index = index,
                    .start = first,
                    .count = count}};
  memcpy(set.bytes + sizeof set.head, eventfds, count * sizeof(int32_t));
  return call(h->device, VFIO_DEVICE_SET_IRQS, &set);
}

int vnv_vectors(struct vnv *h, uint32_t first, uint32_t count, const int32_t *eventfds) {
  if (first > VNV_MAX_VECTORS || count == 0 || count > VNV_MAX_VECTORS - first) return -EINVAL;
  return set_eventfds(h, VFIO_PCI_MSIX_IRQ_INDEX, first, count, eventfds);
}

int vnv_on_request(struct vnv *h, int32_t eventfd) { return set_eventfds(h, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, &eventfd); }

int vnv_wait(int eventfd, int timeout_ms, uint64_t *count) {
  *count = 0;
  struct pollfd ask = {.fd = eventfd, .events = POLLIN};
  int ready = poll(&ask, 1, timeout_ms); /* ended early by a signal: the caller looks again in any case */
  if (ready <= 0) return ready == 0 || errno == EINTR ? 0 : -errno;
  if (ask.revents & POLLNVAL) return -EBADF;
  if (read(eventfd, count, sizeof *count) == (ssize_t)sizeof *count) return 0;
  return errno == EAGAIN ? 0 : -errno;
}

int vnv_bus_master(struct vnv *h, int on) {
  uint16_t command;
  off_t at = (off_t)(h->config_offset + PCI_COMMAND);
  ssize_t bytes = pread(h->device, &command, sizeof command, at);
  if (bytes != (ssize_t)sizeof command) return bytes < 0 ? -errno : -EIO;
  uint16_t wanted = (uint16_t)(on ? command | PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY : command & ~PCI_COMMAND_MASTER);
  bytes = wanted == command ? bytes : pwrite(h->device, &wanted, sizeof wanted, at);
  return bytes == (ssize_t)sizeof wanted ? 0 : bytes < 0 ? -errno : -EIO;
}

int vnv_reset(struct vnv *h) {
  if ((h->device_flags & VFIO_DEVICE_FLAGS_RESET) == 0) return -ENOTTY;
  return call(h->device, VFIO_DEVICE_RESET, NULL);
}
