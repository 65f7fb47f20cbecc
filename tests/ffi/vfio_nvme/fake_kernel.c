/*
 * The C helper on a kernel that is made up: the linker puts these functions in place of libc's. Built with sanitizers;
 * each check that fails ends the program with its line.
 */
#define _GNU_SOURCE
#include "vfio_nvme.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define ADDRESS "0000:01:00.0"
#define BAR_BYTES 8192

#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno);            \
      exit(1);                                                                    \
    }                                                                             \
  } while (0)

/* The kernel: which call fails, what it says, what was done to it. */
static int calls_until_failure, viable, resets, open_fds, group_missing, malformed, short_unmap;
static uint16_t command_register;
static uint32_t last_irq_index;

static void new_kernel(void) {
  calls_until_failure = -1;
  viable = 1;
  resets = group_missing = malformed = short_unmap = 0;
  command_register = PCI_COMMAND_MEMORY;
}

/* True when this call is the one that fails. */
static int fails(int error) {
  if (calls_until_failure < 0 || calls_until_failure-- > 0) return 0;
  calls_until_failure = -1;
  errno = error;
  return 1;
}

int __real_open(const char *path, int flags, ...);
int __real_close(int fd);

int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode) {
  (void)mode;
  if (strstr(path, ADDRESS) != NULL || strcmp(path, "/dev/vfio/7") == 0) return fails(ENOENT) ? -1 : 0;
  errno = ENOENT;
  return -1;
}

ssize_t __wrap_readlink(const char *path, char *buffer, size_t bytes);
ssize_t __wrap_readlink(const char *path, char *buffer, size_t bytes) {
  (void)path;
  if (group_missing || fails(ENOENT)) {
    errno = ENOENT;
    return -1;
  }
  static const char link[] = "../../kernel/iommu_groups/7";
  CHECK(bytes >= sizeof link);
  memcpy(buffer, link, sizeof link - 1);
  return sizeof link - 1;
}

int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
  if (strncmp(path, "/dev/vfio/", 10) != 0) return __real_open(path, flags);
  if (fails(EACCES)) return -1;
  open_fds++;
  return __real_open("/dev/null", O_RDWR);
}

int __wrap_close(int fd);
int __wrap_close(int fd) {
  open_fds--;
  return __real_close(fd);
}

/* A header, a range of two, the number of mappings; `malformed` bends the chain. */
static void answer_iommu_info(struct vfio_iommu_type1_info *info) {
  struct {
    struct vfio_iommu_type1_info head;
    struct { /* vfio_iommu_type1_info_cap_iova_range, without the array at its end */
      struct vfio_info_cap_header header;
      uint32_t nr_iovas, reserved;
    } ranges;
    struct vfio_iova_range range[2];
    struct vfio_iommu_type1_info_dma_avail avail;
  } all = {.head = {.flags = VFIO_IOMMU_INFO_CAPS},
           .ranges = {.header = {.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE}, .nr_iovas = 2},
           .range = {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}},
           .avail = {.header = {.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL}, .avail = 65000}};
  uint32_t given = info->argsz;
  all.head.argsz = sizeof all;
  all.head.cap_offset = (uint32_t)((char *)&all.ranges - (char *)&all);
  all.ranges.header.next = (uint32_t)((char *)&all.avail - (char *)&all);
  if (malformed == 1) all.ranges.nr_iovas = 0xffffffff;
  if (malformed == 2) all.avail.header.next = all.head.cap_offset; /* a circle */
  if (malformed == 3) all.ranges.header.next = 0xfffffff0;
  if (malformed == 4) all.head.cap_offset = sizeof all - 4;
  if (given >= sizeof all) memcpy(info, &all, sizeof all);
  else {
    memcpy(info, &all, sizeof all.head);
    info->cap_offset = 0;
  }
}

int __wrap_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument) {
  (void)fd;
  if (fails(EINTR)) return -1; /* an interrupted call is made again */
  if (fails(ENOMEM)) return -1;
  switch (request) {
  case VFIO_GET_API_VERSION: return VFIO_API_VERSION;
  case VFIO_CHECK_EXTENSION: return 1;
  case VFIO_GROUP_GET_STATUS:
    ((struct vfio_group_status *)argument)->flags = viable ? VFIO_GROUP_FLAGS_VIABLE : 0;
    return 0;
  case VFIO_IOMMU_GET_INFO: answer_iommu_info(argument); return 0;
  case VFIO_GROUP_GET_DEVICE_FD:
    CHECK(strcmp(argument, ADDRESS) == 0);
    open_fds++;
    return __real_open("/dev/null", O_RDWR);
  case VFIO_DEVICE_GET_INFO: ((struct vfio_device_info *)argument)->flags = VFIO_DEVICE_FLAGS_RESET; return 0;
  case VFIO_DEVICE_GET_REGION_INFO: {
    struct vfio_region_info *info = argument;
    info->flags = VFIO_REGION_INFO_FLAG_MMAP;
    info->size = info->index == VFIO_PCI_BAR0_REGION_INDEX ? BAR_BYTES : 256;
    return 0;
  }
  case VFIO_DEVICE_GET_IRQ_INFO: ((struct vfio_irq_info *)argument)->count = 65; return 0;
  case VFIO_DEVICE_SET_IRQS: {
    const struct vfio_irq_set *set = argument;
    CHECK(set->argsz == sizeof *set + set->count * sizeof(int32_t));
    last_irq_index = set->index;
    return 0;
  }
  case VFIO_DEVICE_RESET: resets++; return 0;
  case VFIO_IOMMU_UNMAP_DMA:
    if (short_unmap) ((struct vfio_iommu_type1_dma_unmap *)argument)->size = 0;
    return 0;
  default: return 0; /* SET_CONTAINER, SET_IOMMU, MAP_DMA */
  }
}

void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset) {
  if (bytes != BAR_BYTES) return __real_mmap(at, bytes, prot, flags, fd, offset);
  if (fails(ENOMEM)) return MAP_FAILED;
  return __real_mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

ssize_t __wrap_pread(int fd, void *buffer, size_t bytes, off_t at);
ssize_t __wrap_pread(int fd, void *buffer, size_t bytes, off_t at) {
  (void)fd;
  CHECK(bytes == sizeof command_register && at == PCI_COMMAND);
  memcpy(buffer, &command_register, bytes);
  return (ssize_t)bytes;
}

ssize_t __wrap_pwrite(int fd, const void *buffer, size_t bytes, off_t at);
ssize_t __wrap_pwrite(int fd, const void *buffer, size_t bytes, off_t at) {
  (void)fd;
  CHECK(bytes == sizeof command_register && at == PCI_COMMAND);
  memcpy(&command_register, buffer, bytes);
  return (ssize_t)bytes;
}

static struct vnv_info info;

static struct vnv *open_one(void) {
  struct vnv *handle = NULL;
  CHECK(vnv_open(ADDRESS, VNV_NO_IOMMUFD, &handle, &info) == 0);
  CHECK(info.stage == VNV_STAGE_READY && info.backend == VNV_TYPE1);
  return handle;
}

static void refuses_what_is_no_address(void) {
  static const char *const wrong[] = {"", "01:00.0", "0000:01:00.00", "0000:01:00.g", "../../etc/x.", "0000-01-00.0"};
  struct vnv *handle;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    CHECK(vnv_open(wrong[i], 0, &handle, &info) == -EINVAL && info.stage == VNV_STAGE_ADDRESS);
  }
  CHECK(vnv_open("0000:02:00.0", 0, &handle, &info) == -ENODEV && info.stage == VNV_STAGE_ADDRESS);
}

static void names_the_step_that_failed(void) {
  struct vnv *handle;
  group_missing = 1;
  CHECK(vnv_open(ADDRESS, VNV_NO_IOMMUFD, &handle, &info) == -ENOENT && info.stage == VNV_STAGE_GROUP);
  group_missing = viable = 0;
  CHECK(vnv_open(ADDRESS, VNV_NO_IOMMUFD, &handle, &info) == -EPERM && info.stage == VNV_STAGE_VIABLE);
  CHECK(open_fds == 0);
}

static void closes_everything_whichever_call_fails(void) {
  struct vnv *handle;
  int failures = 0;
  for (int call = 0;; call++) {
    new_kernel();
    calls_until_failure = call;
    int error = vnv_open(ADDRESS, VNV_NO_IOMMUFD, &handle, &info);
    if (error == 0) {
      int reached_end = calls_until_failure >= 0;
      calls_until_failure = -1;
      CHECK(vnv_close(handle) == 0 && open_fds == 0);
      if (reached_end) break;
      continue;
    }
    CHECK(open_fds == 0 && info.stage > 0 && info.stage < VNV_STAGE_READY);
    failures++;
  }
  CHECK(failures >= 10);
}

static void registers_have_bounds(void) {
  struct vnv *handle = open_one();
  uint32_t value = 0;
  CHECK(info.bar_bytes == BAR_BYTES && info.vector_count == VNV_MAX_VECTORS);
  CHECK(vnv_store32(handle, 0x1000, 0x12345678) == 0 && vnv_load32(handle, 0x1000, &value) == 0 && value == 0x12345678);
  CHECK(vnv_store32(handle, BAR_BYTES - 4, 1) == 0);
  CHECK(vnv_store32(handle, BAR_BYTES, 1) == -EINVAL && vnv_load32(handle, 0xfffffffc, &value) == -EINVAL);
  CHECK(vnv_store32(handle, 2, 1) == -EINVAL);
  CHECK(vnv_close(handle) == 0);
}

static void ranges_are_read_and_a_bent_chain_ends(void) {
  struct vnv *handle = open_one();
  CHECK(info.range_count == 2 && info.ranges[1].first == 0xfef00000 && info.mapping_limit == 65000);
  CHECK(vnv_close(handle) == 0);
  for (malformed = 1; malformed <= 4; malformed++) {
    handle = open_one();
    CHECK(info.range_count <= VNV_MAX_RANGES);
    CHECK(vnv_close(handle) == 0);
  }
}

static void mappings_and_vectors(void) {
  struct vnv *handle = open_one();
  static const int32_t fds[VNV_MAX_VECTORS + 1];
  CHECK(vnv_map(handle, fds, 4096, 4096) == 0 && vnv_unmap(handle, 4096, 4096) == 0);
  short_unmap = 1;
  CHECK(vnv_unmap(handle, 4096, 4096) == -ENOENT);
  CHECK(vnv_vectors(handle, 0, VNV_MAX_VECTORS, fds) == 0);
  CHECK(vnv_vectors(handle, 0, VNV_MAX_VECTORS + 1, fds) == -EINVAL);
  CHECK(vnv_vectors(handle, VNV_MAX_VECTORS, 1, fds) == -EINVAL && vnv_vectors(handle, 0, 0, fds) == -EINVAL);
  CHECK(vnv_vectors(handle, 0xffffffff, 2, fds) == -EINVAL);
  CHECK(last_irq_index == VFIO_PCI_MSIX_IRQ_INDEX);
  CHECK(vnv_on_request(handle, 5) == 0 && last_irq_index == VFIO_PCI_REQ_IRQ_INDEX);
  CHECK(vnv_on_request(handle, -1) == 0);
  CHECK(vnv_close(handle) == 0);
}

static void closing_ends_bus_mastering_and_resets(void) {
  struct vnv *one = open_one(), *two = open_one();
  CHECK(vnv_bus_master(one, 1) == 0 && (command_register & PCI_COMMAND_MASTER) != 0);
  CHECK(vnv_close(one) == 0 && (command_register & PCI_COMMAND_MASTER) == 0 && resets == 1);
  CHECK(vnv_close(two) == 0 && open_fds == 0);
}

static void *open_and_end(void *argument) {
  (void)argument;
  CHECK(vnv_bus_master(open_one(), 1) == 0);
  CHECK(vnv_bus_master(open_one(), 1) == 0);
  return NULL;
}

static void a_thread_that_ends_leaves_nothing(void) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, open_and_end, NULL) == 0 && pthread_join(thread, NULL) == 0);
  CHECK(resets == 2 && open_fds == 0 && (command_register & PCI_COMMAND_MASTER) == 0);
}

static void waits_for_an_eventfd(void) {
  uint64_t count = 9, three = 3;
  int fd = eventfd(0, EFD_NONBLOCK);
  CHECK(vnv_wait(fd, 1, &count) == 0 && count == 0);
  CHECK(write(fd, &three, sizeof three) == sizeof three);
  CHECK(vnv_wait(fd, 1000, &count) == 0 && count == 3);
  CHECK(__real_close(fd) == 0 && vnv_wait(fd, 1, &count) == -EBADF);
}

int main(void) {
  static void (*const tests[])(void) = {refuses_what_is_no_address,
                                        names_the_step_that_failed,
                                        closes_everything_whichever_call_fails,
                                        registers_have_bounds,
                                        ranges_are_read_and_a_bent_chain_ends,
                                        mappings_and_vectors,
                                        closing_ends_bus_mastering_and_resets,
                                        a_thread_that_ends_leaves_nothing,
                                        waits_for_an_eventfd};
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
    new_kernel();
    tests[i]();
  }
  printf("%zu tests passed\n", sizeof tests / sizeof tests[0]);
  return 0;
}
