/* Preloaded into a process: the n-th write, sync or truncation of a file whose path holds FAULT_PATH fails.
 *
 * FAULT_AT = n, FAULT_ERRNO = the error's number, FAULT_LASTING = 1: all that follow fail too.
 * The first failure writes what it hit into the file FAULT_MARK. FAULT_COUNT names a file for how many there were in all.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long seen;

static void mark(const char *call, const char *path, ssize_t (*real_write)(int, const void *, size_t)) {
    int file = open(getenv("FAULT_MARK"), O_WRONLY | O_CREAT | O_EXCL, 0600);
    char line[5000];
    if (file < 0) return;
    int length = snprintf(line, sizeof line, "%s %s", call, path);
    real_write(file, line, length);
    close(file);
}

static int fails(const char *call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, getenv("FAULT_PATH"))) return 0;
    long n = atomic_fetch_add(&seen, 1) + 1, at = atol(getenv("FAULT_AT"));
    if (n != at && !(n > at && atoi(getenv("FAULT_LASTING")))) return 0;
    if (n == at) mark(call, path, dlsym(RTLD_NEXT, "write"));
    errno = atoi(getenv("FAULT_ERRNO"));
    return 1;
}

__attribute__((destructor)) static void count(void) {
    const char *path = getenv("FAULT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld", (long)seen);
    fclose(file);
}

#define FAILING(type, name, parameters, arguments)                    \
    type name parameters {                                            \
        static type(*real) parameters;                                \
        if (!real) real = dlsym(RTLD_NEXT, #name);                    \
        return fails(#name, fd) ? -1 : real arguments;                \
    }

FAILING(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
FAILING(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
FAILING(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
FAILING(int, fsync, (int fd), (fd))
FAILING(int, fdatasync, (int fd), (fd))
FAILING(int, ftruncate, (int fd, off_t size), (fd, size))
FAILING(int, ftruncate64, (int fd, off64_t size), (fd, size))
