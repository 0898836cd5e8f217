/* A layer between the unmodified relay and its files, loaded with LD_PRELOAD (disk.rs, layer.rs).
 *
 * It writes down everything that changes a file below LAYER_ROOT, in the order in which it happened: from that, the test
 * knows what a disk that loses what was not synced would hold at any moment. Nothing is really synced; what counts is that
 * the relay asked for it. On command (a byte in the page at LAYER_CONTROL, LAYER_KILL_AT) it fails, or kills.
 *
 * SQLite's -shm file is mapped memory, rebuilt at every start, and not written down: after a power cut it is gone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536

/* What the test may switch on while the process runs. */
struct control {
    volatile uint8_t full;     /* no file grows: ENOSPC */
    volatile uint8_t bad_sync; /* EIO from fsync and fdatasync */
    volatile uint8_t bad_write; /* EIO from write and pwrite */
    volatile uint8_t kill_sync; /* SIGKILL at the next sync, before it */
};

static struct control nothing;
static struct control *control = &nothing;
static char root[4096];
static size_t root_len;
static const char *boot;
static int trace = -1;
static int lying;
static long kill_at = -1;
static long changes;
static unsigned char tracked[FDS];
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("LAYER_ROOT");
    if (!where) return;
    root_len = (size_t)snprintf(root, sizeof root, "%s/", where);
    boot = getenv("LAYER_BOOT");
    lying = getenv("LAYER_LIE") != NULL;
    const char *at = getenv("LAYER_KILL_AT");
    if (at) kill_at = atol(at);
    const char *path = getenv("LAYER_TRACE");
    if (path) {
        trace = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (trace < 0) abort();
    }
    path = getenv("LAYER_CONTROL");
    if (path) {
        int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
        void *page = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, fd, 0);
        if (page == MAP_FAILED) abort();
        REAL(close)(fd);
        control = page;
    }
}

static int ours(const char *path) {
    size_t len = strlen(path);
    if (!root_len) return 0;
    if (strncmp(path, root, root_len) != 0 && !(len == root_len - 1 && !strncmp(path, root, len))) return 0;
    return len < 4 || strcmp(path + len - 4, "-shm") != 0;
}

static int followed(int fd) { return fd >= 0 && fd < FDS && tracked[fd]; }

/* One line of the story, in one piece: a process that is killed leaves none half told. */
static void tell(char op, int fd, uint64_t at, const void *data, size_t len) {
    if (trace < 0) return;
    struct __attribute__((packed)) { char op; uint32_t fd; uint64_t at; uint32_t len; } head = {op, (uint32_t)fd, at, (uint32_t)len};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, len}};
    if (REAL(writev)(trace, parts, 2) != (ssize_t)(sizeof head + len)) abort();
}

/* Before each change; here is where the process may end. Called with the order held. */
static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void change(void) {
    if (kill_at >= 0 && changes++ == kill_at) end();
}

static int opened(const char *path, int flags, int fd, int created) {
    struct stat about;
    if (fd < 0 || fd >= FDS) return fd;
    tracked[fd] = 1;
    fstat(fd, &about);
    tell('O', fd, (uint64_t)created | (uint64_t)((flags & O_TRUNC) != 0) << 1 | (uint64_t)(S_ISDIR(about.st_mode) != 0) << 2, path, strlen(path));
    return fd;
}

static int open_any(int (*next)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    if (boot && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) return next(boot, flags, mode);
    if (!ours(path)) return next(path, flags, mode);
    pthread_mutex_lock(&order);
    int created = (flags & O_CREAT) && access(path, F_OK) != 0;
    if (created || (flags & O_TRUNC)) change();
    int fd = opened(path, flags, next(path, flags, mode), created);
    pthread_mutex_unlock(&order);
    return fd;
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { MODE(flags, mode) return open_any(REAL(open), path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return open_any(REAL(open64), path, flags, mode); }

static int openat_any(int (*next)(int, const char *, int, ...), int dir, const char *path, int flags, mode_t mode) {
    /* The relay opens by whole paths; another way to a file of ours would go unseen. */
    if (ours(path)) abort();
    return next(dir, path, flags, mode);
}
int openat(int dir, const char *path, int flags, ...) { MODE(flags, mode) return openat_any(REAL(openat), dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE(flags, mode) return openat_any(REAL(openat64), dir, path, flags, mode); }

int close(int fd) {
    if (!followed(fd)) return REAL(close)(fd);
    pthread_mutex_lock(&order);
    tracked[fd] = 0;
    tell('C', fd, 0, NULL, 0);
    int done = REAL(close)(fd);
    pthread_mutex_unlock(&order);
    return done;
}

static int refused(int fd, uint64_t upto) {
    struct stat about;
    if (control->bad_write) { errno = EIO; return 1; }
    if (control->full && fstat(fd, &about) == 0 && upto > (uint64_t)about.st_size) { errno = ENOSPC; return 1; }
    return 0;
}

static ssize_t pwrite_any(ssize_t (*next)(int, const void *, size_t, off64_t), int fd, const void *data, size_t len, off64_t at) {
    if (!followed(fd)) return next(fd, data, len, at);
    pthread_mutex_lock(&order);
    ssize_t done = -1;
    if (!refused(fd, (uint64_t)at + len)) {
        change();
        done = next(fd, data, len, at);
        if (done > 0) tell('W', fd, (uint64_t)at, data, (size_t)done);
    }
    pthread_mutex_unlock(&order);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t at) { return pwrite_any((ssize_t (*)(int, const void *, size_t, off64_t))real("pwrite"), fd, data, len, at); }
ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at) { return pwrite_any(REAL(pwrite64), fd, data, len, at); }

ssize_t write(int fd, const void *data, size_t len) {
    if (!followed(fd)) return REAL(write)(fd, data, len);
    pthread_mutex_lock(&order);
    ssize_t done = -1;
    off_t at = lseek(fd, 0, (fcntl(fd, F_GETFL) & O_APPEND) ? SEEK_END : SEEK_CUR);
    if (!refused(fd, (uint64_t)at + len)) {
        change();
        done = REAL(write)(fd, data, len);
        if (done > 0) tell('W', fd, (uint64_t)at, data, (size_t)done);
    }
    pthread_mutex_unlock(&order);
    return done;
}

static int truncate_any(int (*next)(int, off64_t), int fd, off64_t len) {
    if (!followed(fd)) return next(fd, len);
    pthread_mutex_lock(&order);
    int done = -1;
    if (!refused(fd, (uint64_t)len)) {
        change();
        done = next(fd, len);
        if (done == 0) tell('T', fd, (uint64_t)len, NULL, 0);
    }
    pthread_mutex_unlock(&order);
    return done;
}
int ftruncate(int fd, off_t len) { return truncate_any((int (*)(int, off64_t))real("ftruncate"), fd, len); }
int ftruncate64(int fd, off64_t len) { return truncate_any(REAL(ftruncate64), fd, len); }

static int sync_any(int (*next)(int), int fd) {
    if (!followed(fd)) return next(fd);
    if (control->bad_sync) { errno = EIO; return -1; }
    pthread_mutex_lock(&order);
    if (control->kill_sync) end();
    change();
    if (!lying) tell('S', fd, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    return 0;
}
int fsync(int fd) { return sync_any(REAL(fsync), fd); }
int fdatasync(int fd) { return sync_any(REAL(fdatasync), fd); }

int rename(const char *from, const char *to) {
    char both[8192];
    if (!ours(from) && !ours(to)) return REAL(rename)(from, to);
    pthread_mutex_lock(&order);
    change();
    int done = REAL(rename)(from, to);
    size_t a = strlen(from) + 1, b = strlen(to);
    if (a + b > sizeof both) abort();
    memcpy(both, from, a);
    memcpy(both + a, to, b);
    if (done == 0) tell('R', -1, 0, both, a + b);
    pthread_mutex_unlock(&order);
    return done;
}

int unlink(const char *path) {
    if (!ours(path)) return REAL(unlink)(path);
    pthread_mutex_lock(&order);
    change();
    int done = REAL(unlink)(path);
    if (done == 0) tell('U', -1, 0, path, strlen(path));
    pthread_mutex_unlock(&order);
    return done;
}

int mkdir(const char *path, mode_t mode) {
    if (!ours(path)) return REAL(mkdir)(path, mode);
    pthread_mutex_lock(&order);
    change();
    int done = REAL(mkdir)(path, mode);
    if (done == 0) tell('M', -1, 0, path, strlen(path));
    pthread_mutex_unlock(&order);
    return done;
}

/* Ways to change a file that the relay does not use today: if it begins to, the layer must learn them first. */
ssize_t writev(int fd, const struct iovec *parts, int count) { if (followed(fd)) abort(); return REAL(writev)(fd, parts, count); }
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t len, unsigned flags) { if (followed(to)) abort(); return REAL(copy_file_range)(from, a, to, b, len, flags); }
int fallocate(int fd, int mode, off_t at, off_t len) { if (followed(fd)) abort(); return REAL(fallocate)(fd, mode, at, len); }
int link(const char *from, const char *to) { if (ours(to)) abort(); return REAL(link)(from, to); }
