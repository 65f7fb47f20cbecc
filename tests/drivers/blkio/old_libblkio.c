/* A libblkio from before 1.3, as far as plugio can tell: it has every function, and no driver has a property "fd". */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

static int instance;

const char *blkio_get_error_msg(void) { return "Unknown property name"; }

int blkio_create(const char *driver, void **bp)
{
    (void)driver;
    *bp = &instance;
    return 0;
}

void blkio_destroy(void **bp) { *bp = NULL; }

int blkio_get_str(void *b, const char *name, char **value)
{
    (void)b, (void)name, (void)value;
    return -ENOENT;
}

/* Nothing else of it must be called. */
#define REFUSED(name) void name(void) { abort(); }
REFUSED(blkio_connect)
REFUSED(blkio_start)
REFUSED(blkio_set_str)
REFUSED(blkio_map_mem_region)
REFUSED(blkio_unmap_mem_region)
REFUSED(blkio_get_queue)
REFUSED(blkioq_read)
REFUSED(blkioq_write)
REFUSED(blkioq_readv)
REFUSED(blkioq_writev)
REFUSED(blkioq_write_zeroes)
REFUSED(blkioq_discard)
REFUSED(blkioq_flush)
REFUSED(blkioq_do_io)
REFUSED(blkioq_get_completion_fd)
REFUSED(blkioq_set_completion_fd_enabled)
