/* A disk that fails: stands before the C library of a program under test (LD_PRELOAD) and decides the fate of its calls to files.
 *
 * GUNYU_TEST_DISK names a file of rules, one a line, read at each call: `CALL PATTERN ERRNO DELAY_MS`. CALL is open, write, read, persist, cut,
 * remove, rename or any; a rule holds for files whose path has PATTERN in it. Every hit adds a byte to `RULES.hits`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NEXT(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

static const char *rules_path(void) {
    static const char *path;
    return path ? path : (path = getenv("GUNYU_TEST_DISK"));
}

static void note_hit(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s.hits", rules_path());
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd >= 0) {
        syscall(SYS_write, fd, "x", 1);
        syscall(SYS_close, fd);
    }
}

/* 0, or the errno with which the call fails. */
static int judge(const char *call, const char *path) {
    char rules[4096];
    if (!rules_path() || !path || path[0] != '/') return 0;
    long fd = syscall(SYS_openat, AT_FDCWD, rules_path(), O_RDONLY, 0);
    if (fd < 0) return 0;
    long len = syscall(SYS_read, fd, rules, sizeof rules - 1);
    syscall(SYS_close, fd);
    if (len <= 0) return 0;
    rules[len] = 0;
    char *rest = NULL;
    for (char *line = strtok_r(rules, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char name[16], pattern[256];
        int error = 0, delay = 0;
        if (sscanf(line, "%15s %255s %d %d", name, pattern, &error, &delay) != 4) continue;
        if ((strcmp(name, "any") && strcmp(name, call)) || !strstr(path, pattern)) continue;
        note_hit();
        struct timespec pause = {delay / 1000, (delay % 1000) * 1000000L};
        if (delay) nanosleep(&pause, NULL);
        return error;
    }
    return 0;
}

static int judge_fd(const char *call, int fd) {
    char link[64], path[4096];
    if (!rules_path()) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long len = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (len <= 0) return 0;
    path[len] = 0;
    return judge(call, path);
}

#define REFUSE(error) do { int refused = (error); if (refused) { errno = refused; return -1; } } while (0)

static mode_t mode_of(int flags, va_list list) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

/* A disk that takes nothing can still be read. */
#define OPEN(name)                                                              \
    int name(const char *path, int flags, ...) {                                \
        va_list list;                                                           \
        va_start(list, flags);                                                  \
        mode_t mode = mode_of(flags, list);                                     \
        va_end(list);                                                           \
        if (flags & (O_WRONLY | O_RDWR | O_CREAT)) REFUSE(judge("open", path)); \
        return NEXT(name)(path, flags, mode);                                   \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *bytes, size_t len) {
    REFUSE(judge_fd("write", fd));
    return NEXT(write)(fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REFUSE(judge_fd("write", fd));
    return NEXT(writev)(fd, parts, count);
}

ssize_t pread64(int fd, void *bytes, size_t len, off64_t at) {
    REFUSE(judge_fd("read", fd));
    return NEXT(pread64)(fd, bytes, len, at);
}

int fsync(int fd) {
    REFUSE(judge_fd("persist", fd));
    return NEXT(fsync)(fd);
}

int fdatasync(int fd) {
    REFUSE(judge_fd("persist", fd));
    return NEXT(fdatasync)(fd);
}

int ftruncate64(int fd, off64_t len) {
    REFUSE(judge_fd("cut", fd));
    return NEXT(ftruncate64)(fd, len);
}

int unlink(const char *path) {
    REFUSE(judge("remove", path));
    return NEXT(unlink)(path);
}

int rename(const char *from, const char *to) {
    REFUSE(judge("rename", from));
    return NEXT(rename)(from, to);
}
