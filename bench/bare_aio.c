/*
 * The bound of docs/linux_aio.md: 4 KiB random reads by io_submit(2) in batches, completions read from the ring that the
 * kernel maps, and nothing else: no clock per I/O, no statistics, no callbacks. Prints thousands of I/Os a second.
 *
 * cc -O2 -o bare_aio bench/bare_aio.c && ./bare_aio TARGET DEPTH BATCH SECONDS
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_BYTES 4096L
#define RAMP_SECONDS 0.5
#define RING_MAGIC 0xa10a10a1 /* fs/aio.c */
#define IOS_PER_CLOCK_READING 256

struct ring {
    unsigned id, nr, head, tail, magic, compat_features, incompat_features, header_length;
    struct io_event events[];
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "wanted TARGET DEPTH BATCH SECONDS\n");
        return 2;
    }
    int depth = atoi(argv[2]), batch = atoi(argv[3]);
    int fd = open(argv[1], O_RDONLY | O_DIRECT | O_NOATIME);
    if (fd < 0) fail("open");
    uint64_t blocks = lseek(fd, 0, SEEK_END) / BLOCK_BYTES;
    aio_context_t context = 0;
    if (syscall(SYS_io_setup, depth, &context) < 0) fail("io_setup");
    struct ring *ring = (struct ring *)context;
    if (ring->magic != RING_MAGIC) fail("ring");
    struct iocb *iocbs = calloc(depth, sizeof *iocbs), **list = calloc(depth, sizeof *list);
    char *buffers = aligned_alloc(BLOCK_BYTES, depth * BLOCK_BYTES);
    for (long i = 0; i < depth * BLOCK_BYTES; i++) buffers[i] = 1;
    int *idle = calloc(depth, sizeof *idle), idle_count = depth;
    for (int i = 0; i < depth; i++) idle[i] = i;

    uint32_t random = 12345;
    long done = 0, done_at_start = -1, next_reading = 0;
    double ramp_end = now() + RAMP_SECONDS, start = 0, end = 0, time = 0;
    do {
        int count = 0;
        while (idle_count > 0 && count < batch) {
            int slot = idle[--idle_count];
            random ^= random << 13, random ^= random >> 17, random ^= random << 5;
            struct iocb *iocb = list[count++] = &iocbs[slot];
            iocb->aio_fildes = fd;
            iocb->aio_lio_opcode = IOCB_CMD_PREAD;
            iocb->aio_buf = (uintptr_t)(buffers + slot * BLOCK_BYTES);
            iocb->aio_nbytes = BLOCK_BYTES;
            iocb->aio_offset = random % blocks * BLOCK_BYTES;
            iocb->aio_data = slot;
        }
        if (count > 0 && syscall(SYS_io_submit, context, (long)count, list) != count) fail("io_submit");
        unsigned head = ring->head, tail;
        while ((tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) == head && idle_count == 0);
        for (; head != tail; head = head + 1 == ring->nr ? 0 : head + 1) {
            if (ring->events[head].res != BLOCK_BYTES) fail("read");
            idle[idle_count++] = ring->events[head].data;
            done++;
        }
        __atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
        if (done < next_reading) continue;
        next_reading = done + IOS_PER_CLOCK_READING;
        time = now();
        if (done_at_start < 0 && time >= ramp_end) {
            done_at_start = done;
            start = time;
            end = time + atof(argv[4]);
        }
    } while (done_at_start < 0 || time < end);
    printf("%.1f\n", (done - done_at_start) / (time - start) / 1000);
    return 0;
}
