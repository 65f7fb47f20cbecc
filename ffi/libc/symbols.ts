import type { LibrarySpec } from "../loader.ts";

/** glibc or a libc that answers to its soname. */
export const LIBC: LibrarySpec = {
  name: "libc",
  sonames: ["libc.so.6"],
  overrideVariable: "PLUGIO_LIBC",
  packages: { debian: "libc6", fedora: "glibc", arch: "glibc" },
};

/** The calls of libc that plugio makes. Sizes and offsets are 64-bit on the two supported architectures. */
export const LIBC_SYMBOLS = {
  // int *__errno_location(void);
  __errno_location: { parameters: [], result: "pointer" },
  // int open(const char *pathname, int flags, mode_t mode);
  open: {
    parameters: [
      "buffer", // pathname, NUL-terminated
      "i32", // flags
      "u32", // mode
    ],
    result: "i32",
  },
  // int close(int fd);
  close: { parameters: ["i32"], result: "i32" },
  // int statx(int dirfd, const char *pathname, int flags, unsigned int mask, struct statx *statxbuf);
  statx: {
    parameters: [
      "i32", // dirfd
      "buffer", // pathname
      "i32", // flags
      "u32", // mask
      "buffer", // statxbuf
    ],
    result: "i32",
  },
  // int ftruncate(int fd, off_t length);
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  // int fdatasync(int fd);
  fdatasync: { parameters: ["i32"], result: "i32" },
  // int fallocate(int fd, int mode, off_t offset, off_t len);
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  // int ioctl(int fd, unsigned long request, void *argp);
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  // void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
  mmap: {
    parameters: [
      "pointer", // addr
      "usize", // length
      "i32", // prot
      "i32", // flags
      "i32", // fd
      "i64", // offset
    ],
    result: "pointer",
  },
  // int munmap(void *addr, size_t length);
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  // int eventfd(unsigned int initval, int flags);
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t count);
  write: { parameters: ["i32", "buffer", "usize"], result: "i64" },
  // int socketpair(int domain, int type, int protocol, int sv[2]);
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  // int clock_gettime(clockid_t clockid, struct timespec *tp);
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  // void free(void *ptr);
  free: { parameters: ["pointer"], result: "void" },
  // off_t lseek(int fd, off_t offset, int whence);
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  // int getpeername(int sockfd, struct sockaddr *addr, socklen_t *addrlen);
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int epoll_create1(int flags);
  epoll_create1: { parameters: ["i32"], result: "i32" },
  // int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
  epoll_ctl: {
    parameters: [
      "i32", // epfd
      "i32", // op
      "i32", // fd
      "buffer", // event
    ],
    result: "i32",
  },
  // int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout);
  epoll_wait: {
    parameters: [
      "i32", // epfd
      "buffer", // events
      "i32", // maxevents
      "i32", // timeout
    ],
    result: "i32",
  },
  // int timerfd_create(int clockid, int flags);
  timerfd_create: { parameters: ["i32", "i32"], result: "i32" },
  // int timerfd_settime(int fd, int flags, const struct itimerspec *new_value, struct itimerspec *old_value);
  timerfd_settime: {
    parameters: [
      "i32", // fd
      "i32", // flags
      "buffer", // new_value
      "pointer", // old_value
    ],
    result: "i32",
  },
  // int poll(struct pollfd *fds, nfds_t nfds, int timeout);
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32" },
  // int getrlimit(int resource, struct rlimit *rlim);
  getrlimit: { parameters: ["i32", "buffer"], result: "i32" },
  // ssize_t read(int fd, void *buf, size_t count);
  read: { parameters: ["i32", "buffer", "usize"], result: "i64" },
  // the same on another thread, for descriptors that block
  read_waiting: { name: "read", parameters: ["i32", "buffer", "usize"], result: "i64", nonblocking: true },
  // write on another thread, likewise
  write_waiting: { name: "write", parameters: ["i32", "buffer", "usize"], result: "i64", nonblocking: true },
  // long syscall(long number, ...), as io_setup(unsigned int nr_events, aio_context_t *ctxp). Numbers go as pointers, as
  // wide as a register: see the symbols of libaio
  sys_io_setup: {
    name: "syscall",
    parameters: [
      "pointer", // number
      "pointer", // nr_events
      "buffer", // ctxp
    ],
    result: "i32",
  },
  // the same as io_submit(aio_context_t ctx, long nr, struct iocb **iocbpp)
  sys_io_submit: {
    name: "syscall",
    parameters: [
      "pointer", // number
      "pointer", // ctx
      "pointer", // nr
      "pointer", // iocbpp
    ],
    result: "i32",
  },
  // ssize_t getdents64(int fd, void *dirp, size_t count);
  getdents64: { parameters: ["i32", "buffer", "usize"], result: "i64" },
  // ssize_t readlink(const char *pathname, char *buf, size_t bufsiz);
  readlink: {
    parameters: [
      "buffer", // pathname
      "buffer", // buf
      "usize", // bufsiz
    ],
    result: "i64",
  },
  // int access(const char *pathname, int mode);
  access: { parameters: ["buffer", "i32"], result: "i32" },
  // struct group *getgrnam(const char *name);
  getgrnam: { parameters: ["buffer"], result: "pointer" },
  // int chmod(const char *pathname, mode_t mode);
  chmod: { parameters: ["buffer", "u32"], result: "i32" },
  // int fchownat(int dirfd, const char *pathname, uid_t owner, gid_t group, int flags);
  fchownat: {
    parameters: [
      "i32", // dirfd
      "buffer", // pathname
      "u32", // owner
      "u32", // group
      "i32", // flags
    ],
    result: "i32",
  },
  // int getsockopt(int sockfd, int level, int optname, void *optval, socklen_t *optlen);
  getsockopt: {
    parameters: [
      "i32", // sockfd
      "i32", // level
      "i32", // optname
      "buffer", // optval
      "buffer", // optlen
    ],
    result: "i32",
  },
  // int unlink(const char *pathname);
  unlink: { parameters: ["buffer"], result: "i32" },
  // int fcntl(int fd, int op, long arg);
  fcntl: { parameters: ["i32", "i32", "i64"], result: "i32" },
  // the same for locks: int fcntl(int fd, int op, struct flock *lock);
  fcntl_lock: { name: "fcntl", parameters: ["i32", "i32", "buffer"], result: "i32" },
  // ssize_t pread(int fd, void *buf, size_t count, off_t offset);
  pread: {
    parameters: [
      "i32", // fd
      "buffer", // buf
      "usize", // count
      "i64", // offset
    ],
    result: "i64",
  },
  // int memfd_create(const char *name, unsigned int flags);
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  // int socket(int domain, int type, int protocol);
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int bind(int sockfd, const struct sockaddr *addr, socklen_t addrlen);
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int getsockname(int sockfd, struct sockaddr *addr, socklen_t *addrlen);
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int listen(int sockfd, int backlog);
  listen: { parameters: ["i32", "i32"], result: "i32" },
  // int connect(int sockfd, const struct sockaddr *addr, socklen_t addrlen);
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int accept4(int sockfd, struct sockaddr *addr, socklen_t *addrlen, int flags);
  accept4: {
    parameters: [
      "i32", // sockfd
      "pointer", // addr
      "pointer", // addrlen
      "i32", // flags
    ],
    result: "i32",
  },
  // int shutdown(int sockfd, int how);
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  // ssize_t recvmsg(int sockfd, struct msghdr *msg, int flags);
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "i64" },
  // ssize_t sendmsg(int sockfd, const struct msghdr *msg, int flags);
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "i64" },
  // the same two for less than 2 GiB, and without an allocation: a 64-bit result is a bigint
  recvmsg_short: { name: "recvmsg", parameters: ["i32", "pointer", "i32"], result: "i32" },
  sendmsg_short: { name: "sendmsg", parameters: ["i32", "pointer", "i32"], result: "i32" },
  // int setsockopt(int sockfd, int level, int optname, const void *optval, socklen_t optlen);
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  // int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res);
  // on another thread: it asks name servers
  getaddrinfo: { parameters: ["buffer", "buffer", "buffer", "buffer"], result: "i32", nonblocking: true },
  // void freeaddrinfo(struct addrinfo *res);
  freeaddrinfo: { parameters: ["pointer"], result: "void" },
  // const char *gai_strerror(int errcode);
  gai_strerror: { parameters: ["i32"], result: "pointer" },
  // ssize_t send(int sockfd, const void *buf, size_t len, int flags);
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "i64" },
  // poll on another thread, which waits for as long as nothing happens on the descriptors
  poll_waiting: { name: "poll", parameters: ["buffer", "u64", "i32"], result: "i32", nonblocking: true },
  // What Workers need for the end of their thread: see ffi/thread_exit.ts. glibc before 2.34 has some of it elsewhere.
  // void *dlsym(void *handle, const char *symbol);
  dlsym: { parameters: ["pointer", "buffer"], result: "pointer", optional: true },
  // void *dlopen(const char *filename, int flags);
  dlopen: { parameters: ["buffer", "i32"], result: "pointer", optional: true },
  // int __cxa_thread_atexit_impl(void (*dtor)(void *), void *obj, void *dso_symbol);
  __cxa_thread_atexit_impl: { parameters: ["pointer", "pointer", "pointer"], result: "i32", optional: true },
  // int getpid(void);
  getpid: { parameters: [], result: "i32" },
  // pid_t gettid(void);
  gettid: { parameters: [], result: "i32", optional: true },
  // int prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4, unsigned long arg5);
  prctl: { parameters: ["i32", "buffer", "u64", "u64", "u64"], result: "i32" },
  // int mprotect(void *addr, size_t len, int prot);
  mprotect: { parameters: ["pointer", "usize", "i32"], result: "i32" },
  // int pthread_attr_init(pthread_attr_t *attr);
  pthread_attr_init: { parameters: ["pointer"], result: "i32", optional: true },
  // int pthread_attr_setdetachstate(pthread_attr_t *attr, int detachstate);
  pthread_attr_setdetachstate: { parameters: ["pointer", "i32"], result: "i32", optional: true },
  // int pthread_attr_setstacksize(pthread_attr_t *attr, size_t stacksize);
  pthread_attr_setstacksize: { parameters: ["pointer", "usize"], result: "i32", optional: true },
  // int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start_routine)(void *), void *arg);
  pthread_create: { parameters: ["buffer", "pointer", "pointer", "pointer"], result: "i32", optional: true },
  // int pthread_detach(pthread_t thread);
  pthread_detach: { parameters: ["u64"], result: "i32", optional: true },
} as const satisfies Deno.ForeignLibraryInterface;
