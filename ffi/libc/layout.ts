import { ARCH } from "../runtime.ts";
import { struct } from "../../core/base/layout.ts";

/** What statx(2) fills; the two direct-I/O alignments exist since Linux 6.1 (STATX_DIOALIGN). */
export const STATX = struct("struct statx", "linux/stat.h", 256, {
  mask: ["stx_mask", "u32", 0],
  mode: ["stx_mode", "u16", 28],
  blockSize: ["stx_blksize", "u32", 4],
  inode: ["stx_ino", "u64", 32],
  size: ["stx_size", "u64", 40],
  blocks: ["stx_blocks", "u64", 48],
  rdevMajor: ["stx_rdev_major", "u32", 128],
  rdevMinor: ["stx_rdev_minor", "u32", 132],
  devMajor: ["stx_dev_major", "u32", 136],
  devMinor: ["stx_dev_minor", "u32", 140],
  dioMemAlign: ["stx_dio_mem_align", "u32", 152],
  dioOffsetAlign: ["stx_dio_offset_align", "u32", 156],
});

/** One piece of a vectored read or write. */
export const IOVEC = struct("struct iovec", "sys/uio.h", 16, {
  base: ["iov_base", "pointer", 0],
  length: ["iov_len", "u64", 8],
});

/** A point in time; the nanoseconds fit their low half. */
export const TIMESPEC = struct("struct timespec", "time.h", 16, {
  seconds: ["tv_sec", "i64", 0],
  nanoseconds: ["tv_nsec", "i64", 8],
});

/** Address of a UNIX domain socket; the path fills the rest, with its NUL. */
export const SOCKADDR_UN = struct("struct sockaddr_un", "sys/un.h", 110, {
  family: ["sun_family", "u16", 0],
  path: ["sun_path", "bytes", 2],
});

/** One address of a host, as getaddrinfo(3) finds it. */
export const ADDRINFO = struct("struct addrinfo", "netdb.h", 48, {
  family: ["ai_family", "i32", 4],
  socketType: ["ai_socktype", "i32", 8],
  addressLength: ["ai_addrlen", "u32", 16],
  address: ["ai_addr", "pointer", 24],
  next: ["ai_next", "pointer", 40],
});

/** An address of IPv4 and a port; both are big-endian. */
export const SOCKADDR_IN = struct("struct sockaddr_in", "netinet/in.h", 16, {
  port: ["sin_port", "u16", 2],
});

/** One descriptor of poll(2). */
export const POLLFD = struct("struct pollfd", "poll.h", 8, {
  fd: ["fd", "i32", 0],
  events: ["events", "i16", 4],
  revents: ["revents", "i16", 6],
});

/** What epoll_ctl(2) is told and epoll_wait(2) tells; packed on x86-64 alone. */
export const EPOLL_EVENT = struct("struct epoll_event", "sys/epoll.h", ARCH === "x86_64" ? 12 : 16, {
  events: ["events", "u32", 0],
  data: ["data", "u64", ARCH === "x86_64" ? 4 : 8],
});

/** Submission entry of native AIO. `key` belongs to the kernel. */
export const IOCB = struct("struct iocb", "linux/aio_abi.h", 64, {
  data: ["aio_data", "u64", 0],
  key: ["aio_key", "u32", 8],
  rwFlags: ["aio_rw_flags", "u32", 12],
  opcode: ["aio_lio_opcode", "u16", 16],
  priority: ["aio_reqprio", "i16", 18],
  fd: ["aio_fildes", "u32", 20],
  buffer: ["aio_buf", "u64", 24],
  byteLength: ["aio_nbytes", "u64", 32],
  offset: ["aio_offset", "i64", 40],
  reserved2: ["aio_reserved2", "u64", 48],
  flags: ["aio_flags", "u32", 56],
  eventFd: ["aio_resfd", "u32", 60],
});

/**
 * Header of the ring that the kernel maps at the address of the context; `io_event` entries follow. No header of the
 * system declares it (fs/aio.c), so its magic, features and length are compared each time a context is made.
 */
export const AIO_RING = {
  /** Words of the header. */
  headerWords: 8,
  /** Number of events that fit; head and tail wrap there. */
  count: 1,
  /** First event that was not taken yet; written by the taker. */
  head: 2,
  /** Behind the last event; written by the kernel. */
  tail: 3,
  /** AIO_RING_MAGIC. */
  magic: 4,
  /** AIO_RING_INCOMPAT_FEATURES: what a reader has to understand. */
  incompatibleFeatures: 6,
  /** Bytes of the header. */
  headerBytes: 7,
} as const;

/** AIO_RING_MAGIC of fs/aio.c. */
export const AIO_RING_MAGIC = 0xa10a10a1;

/** When a timer expires, and how often (timerfd_settime(2)). */
export const ITIMERSPEC = struct("struct itimerspec", "sys/timerfd.h", 32, {
  intervalSeconds: ["it_interval.tv_sec", "i64", 0],
  intervalNanoseconds: ["it_interval.tv_nsec", "i64", 8],
  seconds: ["it_value.tv_sec", "i64", 16],
  nanoseconds: ["it_value.tv_nsec", "i64", 24],
});

/** What getrlimit(2) fills. */
export const RLIMIT = struct("struct rlimit", "sys/resource.h", 16, {
  soft: ["rlim_cur", "u64", 0],
  hard: ["rlim_max", "u64", 8],
});

/** One entry of a folder, as getdents64(2) writes it; the next one starts `recordLength` bytes further. */
export const DIRENT64 = struct("struct dirent64", "dirent.h", 280, {
  recordLength: ["d_reclen", "u16", 16],
  name: ["d_name", "bytes", 19],
});

/** A group of this machine, as getgrnam(3) finds it. */
export const GROUP = struct("struct group", "grp.h", 32, {
  number: ["gr_gid", "u32", 16],
});

/** What fcntl(2) is asked about locks, and answers. */
export const FLOCK = struct("struct flock", "fcntl.h", 32, {
  type: ["l_type", "i16", 0],
  start: ["l_start", "i64", 8],
  length: ["l_len", "i64", 16],
});

/** Question and header of the answer of FS_IOC_FIEMAP; the extents follow. */
export const FIEMAP = struct("struct fiemap", "linux/fiemap.h", 32, {
  start: ["fm_start", "u64", 0],
  length: ["fm_length", "u64", 8],
  flags: ["fm_flags", "u32", 16],
  mappedExtents: ["fm_mapped_extents", "u32", 20],
  extentCount: ["fm_extent_count", "u32", 24],
});

/** One extent of a file in the answer of FS_IOC_FIEMAP. */
export const FIEMAP_EXTENT = struct("struct fiemap_extent", "linux/fiemap.h", 56, {
  logical: ["fe_logical", "u64", 0],
  length: ["fe_length", "u64", 16],
  flags: ["fe_flags", "u32", 40],
});

/** What LOOP_GET_STATUS64 tells of a loop device. */
export const LOOP_INFO64 = struct("struct loop_info64", "linux/loop.h", 232, {
  device: ["lo_device", "u64", 0],
  inode: ["lo_inode", "u64", 8],
  rdevice: ["lo_rdevice", "u64", 16],
  offset: ["lo_offset", "u64", 24],
  sizeLimit: ["lo_sizelimit", "u64", 32],
});

/** What sendmsg(2) and recvmsg(2) are given. */
export const MSGHDR = struct("struct msghdr", "sys/socket.h", 56, {
  name: ["msg_name", "pointer", 0],
  nameLength: ["msg_namelen", "u32", 8],
  iov: ["msg_iov", "pointer", 16],
  iovLength: ["msg_iovlen", "u64", 24],
  control: ["msg_control", "pointer", 32],
  controlLength: ["msg_controllen", "u64", 40],
  flags: ["msg_flags", "i32", 48],
});

/** Header of one control message; its data follows. */
export const CMSGHDR = struct("struct cmsghdr", "sys/socket.h", 16, {
  length: ["cmsg_len", "u64", 0],
  level: ["cmsg_level", "i32", 8],
  type: ["cmsg_type", "i32", 12],
});

/** Constants of the C headers, checked by the same probe as the layouts. */
export const LIBC_CONSTANTS = {
  O_RDONLY: { header: "fcntl.h", value: 0 },
  O_WRONLY: { header: "fcntl.h", value: 1 },
  O_RDWR: { header: "fcntl.h", value: 2 },
  O_CREAT: { header: "fcntl.h", value: 0o100 },
  O_EXCL: { header: "fcntl.h", value: 0o200 },
  O_TRUNC: { header: "fcntl.h", value: 0o1000 },
  O_NONBLOCK: { header: "fcntl.h", value: 0o4000 },
  O_NOATIME: { header: "fcntl.h", value: 0o1000000 },
  O_CLOEXEC: { header: "fcntl.h", value: 0o2000000 },
  O_NOFOLLOW: { header: "fcntl.h", value: 0o400000 },
  O_PATH: { header: "fcntl.h", value: 0o10000000 },
  AT_FDCWD: { header: "fcntl.h", value: -100 },
  AT_EMPTY_PATH: { header: "fcntl.h", value: 0x1000 },
  STATX_BASIC_STATS: { header: "linux/stat.h", value: 0x7ff },
  STATX_DIOALIGN: { header: "linux/stat.h", value: 0x2000 },
  S_IFMT: { header: "sys/stat.h", value: 0o170000 },
  S_IFREG: { header: "sys/stat.h", value: 0o100000 },
  S_IFBLK: { header: "sys/stat.h", value: 0o060000 },
  S_IFIFO: { header: "sys/stat.h", value: 0o010000 },
  S_IFCHR: { header: "sys/stat.h", value: 0o020000 },
  S_IFSOCK: { header: "sys/stat.h", value: 0o140000 },
  S_IFDIR: { header: "sys/stat.h", value: 0o040000 },
  R_OK: { header: "unistd.h", value: 4 },
  W_OK: { header: "unistd.h", value: 2 },
  PROT_READ: { header: "sys/mman.h", value: 1 },
  PROT_WRITE: { header: "sys/mman.h", value: 2 },
  PROT_EXEC: { header: "sys/mman.h", value: 4 },
  MAP_SHARED: { header: "sys/mman.h", value: 1 },
  MAP_PRIVATE: { header: "sys/mman.h", value: 2 },
  MAP_ANONYMOUS: { header: "sys/mman.h", value: 0x20 },
  MAP_POPULATE: { header: "sys/mman.h", value: 0x8000 },
  MFD_CLOEXEC: { header: "sys/mman.h", value: 1 },
  F_RDLCK: { header: "fcntl.h", value: 0 },
  F_WRLCK: { header: "fcntl.h", value: 1 },
  F_UNLCK: { header: "fcntl.h", value: 2 },
  F_OFD_GETLK: { header: "fcntl.h", value: 36 },
  F_OFD_SETLK: { header: "fcntl.h", value: 37 },
  F_DUPFD_CLOEXEC: { header: "fcntl.h", value: 1030 },
  PR_GET_TID_ADDRESS: { header: "sys/prctl.h", value: 40 },
  PTHREAD_CREATE_DETACHED: { header: "pthread.h", value: 1 },
  SIG_BLOCK: { header: "signal.h", value: 0 },
  RTLD_NOW: { header: "dlfcn.h", value: 2 },
  RTLD_NOLOAD: { header: "dlfcn.h", value: 4 },
  RTLD_NODELETE: { header: "dlfcn.h", value: 0x1000 },
  SEEK_SET: { header: "unistd.h", value: 0 },
  SEEK_CUR: { header: "unistd.h", value: 1 },
  SEEK_END: { header: "unistd.h", value: 2 },
  SEEK_DATA: { header: "unistd.h", value: 3 },
  SEEK_HOLE: { header: "unistd.h", value: 4 },
  POLLIN: { header: "poll.h", value: 1 },
  POLLOUT: { header: "poll.h", value: 4 },
  POLLRDHUP: { header: "poll.h", value: 0x2000 },
  POLLERR: { header: "poll.h", value: 8 },
  POLLHUP: { header: "poll.h", value: 0x10 },
  EFD_CLOEXEC: { header: "sys/eventfd.h", value: 0o2000000 },
  EFD_NONBLOCK: { header: "sys/eventfd.h", value: 0o4000 },
  EPOLL_CLOEXEC: { header: "sys/epoll.h", value: 0o2000000 },
  EPOLL_CTL_ADD: { header: "sys/epoll.h", value: 1 },
  EPOLL_CTL_DEL: { header: "sys/epoll.h", value: 2 },
  EPOLLIN: { header: "sys/epoll.h", value: 1 },
  EPOLLOUT: { header: "sys/epoll.h", value: 4 },
  EPOLLET: { header: "sys/epoll.h", value: 0x8000_0000 },
  TFD_CLOEXEC: { header: "sys/timerfd.h", value: 0o2000000 },
  TFD_NONBLOCK: { header: "sys/timerfd.h", value: 0o4000 },
  AF_UNIX: { header: "sys/socket.h", value: 1 },
  SOCK_STREAM: { header: "sys/socket.h", value: 1 },
  SOCK_CLOEXEC: { header: "sys/socket.h", value: 0o2000000 },
  SOCK_NONBLOCK: { header: "sys/socket.h", value: 0o4000 },
  SOL_SOCKET: { header: "sys/socket.h", value: 1 },
  SO_REUSEADDR: { header: "sys/socket.h", value: 2 },
  SO_ERROR: { header: "sys/socket.h", value: 4 },
  IPPROTO_TCP: { header: "netinet/in.h", value: 6 },
  TCP_NODELAY: { header: "netinet/tcp.h", value: 1 },
  SO_TYPE: { header: "sys/socket.h", value: 3 },
  SO_ACCEPTCONN: { header: "sys/socket.h", value: 30 },
  SO_DOMAIN: { header: "sys/socket.h", value: 39 },
  SCM_RIGHTS: { header: "sys/socket.h", value: 1 },
  MSG_CTRUNC: { header: "sys/socket.h", value: 8 },
  MSG_DONTWAIT: { header: "sys/socket.h", value: 0x40 },
  MSG_NOSIGNAL: { header: "sys/socket.h", value: 0x4000 },
  MSG_CMSG_CLOEXEC: { header: "sys/socket.h", value: 0x40000000 },
  SHUT_RDWR: { header: "sys/socket.h", value: 2 },
  F_SETFD: { header: "fcntl.h", value: 2 },
  FD_CLOEXEC: { header: "fcntl.h", value: 1 },
  F_GETFL: { header: "fcntl.h", value: 3 },
  F_SETFL: { header: "fcntl.h", value: 4 },
  F_ADD_SEALS: { header: "fcntl.h", value: 1033 },
  F_GET_SEALS: { header: "fcntl.h", value: 1034 },
  F_SEAL_SHRINK: { header: "fcntl.h", value: 2 },
  MFD_ALLOW_SEALING: { header: "sys/mman.h", value: 2 },
  CLOCK_MONOTONIC: { header: "time.h", value: 1 },
  RLIMIT_MEMLOCK: { header: "sys/resource.h", value: 8 },
  BLKROGET: { header: "linux/fs.h", value: 0x125e },
  BLKGETSIZE64: { header: "linux/fs.h", value: 0x80081272 },
  BLKDISCARD: { header: "linux/fs.h", value: 0x1277 },
  BLKSSZGET: { header: "linux/fs.h", value: 0x1268 },
  LOOP_GET_STATUS64: { header: "linux/loop.h", value: 0x4c05 },
  FALLOC_FL_KEEP_SIZE: { header: "linux/falloc.h", value: 1 },
  FALLOC_FL_PUNCH_HOLE: { header: "linux/falloc.h", value: 2 },
  FALLOC_FL_ZERO_RANGE: { header: "linux/falloc.h", value: 0x10 },
  RWF_DSYNC: { header: "linux/fs.h", value: 2 },
  FS_IOC_FIEMAP: { header: "linux/fs.h", value: 0xc020660b },
  FIEMAP_FLAG_SYNC: { header: "linux/fiemap.h", value: 1 },
  FIEMAP_EXTENT_LAST: { header: "linux/fiemap.h", value: 1 },
  IOCB_CMD_POLL: { header: "linux/aio_abi.h", value: 5 },
  IOCB_FLAG_RESFD: { header: "linux/aio_abi.h", value: 1 },
  SYS_io_setup: { header: "sys/syscall.h", value: ARCH === "aarch64" ? 0 : 206 },
  SYS_io_destroy: { header: "sys/syscall.h", value: ARCH === "aarch64" ? 1 : 207 },
  SYS_io_submit: { header: "sys/syscall.h", value: ARCH === "aarch64" ? 2 : 209 },
  SYS_futex: { header: "sys/syscall.h", value: ARCH === "aarch64" ? 98 : 202 },
  FIEMAP_EXTENT_UNWRITTEN: { header: "linux/fiemap.h", value: 0x800 },
} as const;

/** O_DIRECT differs by architecture (asm/fcntl.h). */
export const O_DIRECT = ARCH === "aarch64" ? 0o200000 : 0o40000;
