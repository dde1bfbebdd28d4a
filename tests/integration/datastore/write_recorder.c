/* LD_PRELOAD: notes every change of the watched files, and what is printed, in the order in which it happens.
 *
 * RECORD_PREFIX: files whose path begins with it are watched; RECORD_TO: where the notes go. A note is
 *   op(1) name-length(1) name offset(8) length(8) data
 * with op W write, T truncate to offset, S sync, U unlink, and A for what goes to standard output (the
 * acknowledgements). The database's shared-memory index is not noted: it is rebuilt after a cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILES 4096
static char names[MAX_FILES][256];
static int journal = -1;
static const char *prefix;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static ssize_t plain_write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, data, size);
}

static void start(void) {
    if (prefix) return;
    prefix = getenv("RECORD_PREFIX");
    if (!prefix) prefix = "";
    const char *to = getenv("RECORD_TO");
    if (to) {
        REAL(int, "open64", const char *, int, ...);
        journal = real(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
}

static void note(char op, const char *name, int64_t offset, const void *data, int64_t size) {
    if (journal < 0) return;
    unsigned char head[2] = {(unsigned char)op, (unsigned char)strlen(name)};
    plain_write(journal, head, 2);
    plain_write(journal, name, head[1]);
    plain_write(journal, &offset, 8);
    plain_write(journal, &size, 8);
    if (data && size) plain_write(journal, data, (size_t)size);
}

static void remember(int fd, const char *path) {
    start();
    if (fd < 0 || fd >= MAX_FILES) return;
    size_t length = strlen(prefix);
    int watched = length && strncmp(path, prefix, length) == 0 && !strstr(path, "-shm") && !strstr(path, ".lock");
    snprintf(names[fd], sizeof names[fd], "%s", watched ? path + length : "");
}

static int opening(const char *path, int flags, mode_t mode) {
    REAL(int, "open64", const char *, int, ...);
    int fd = real(path, flags, mode);
    remember(fd, path);
    return fd;
}

int open(const char *path, int flags, ...) {
    __builtin_va_list rest;
    __builtin_va_start(rest, flags);
    mode_t mode = __builtin_va_arg(rest, int);
    __builtin_va_end(rest);
    return opening(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    __builtin_va_list rest;
    __builtin_va_start(rest, flags);
    mode_t mode = __builtin_va_arg(rest, int);
    __builtin_va_end(rest);
    return opening(path, flags, mode);
}

int close(int fd) {
    REAL(int, "close", int);
    if (fd >= 0 && fd < MAX_FILES) names[fd][0] = 0;
    return real(fd);
}

static const char *name_of(int fd) {
    return fd >= 0 && fd < MAX_FILES && names[fd][0] ? names[fd] : NULL;
}

#define NOTED(op, offset, data, size, call) \
    const char *name = name_of(fd); \
    if (!name) return call; \
    pthread_mutex_lock(&order); \
    __typeof__(call) result = call; \
    if (result >= 0) note(op, name, offset, data, size); \
    pthread_mutex_unlock(&order); \
    return result

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
    NOTED('W', offset, data, result, real(fd, data, size, offset));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
    NOTED('W', offset, data, result, real(fd, data, size, offset));
}

int ftruncate(int fd, off_t size) {
    REAL(int, "ftruncate64", int, off_t);
    NOTED('T', size, NULL, 0, real(fd, size));
}

int ftruncate64(int fd, off_t size) {
    REAL(int, "ftruncate64", int, off_t);
    NOTED('T', size, NULL, 0, real(fd, size));
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    NOTED('S', 0, NULL, 0, real(fd));
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    NOTED('S', 0, NULL, 0, real(fd));
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    start();
    int result = real(path);
    size_t length = strlen(prefix);
    if (!result && length && strncmp(path, prefix, length) == 0) note('U', path + length, 0, NULL, 0);
    return result;
}

ssize_t write(int fd, const void *data, size_t size) {
    if (fd == 1) {
        start();
        pthread_mutex_lock(&order);
        note('A', "", 0, data, (int64_t)size);
        pthread_mutex_unlock(&order);
        return plain_write(fd, data, size);
    }
    const char *name = name_of(fd);
    if (!name) return plain_write(fd, data, size);
    pthread_mutex_lock(&order);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t result = plain_write(fd, data, size);
    if (result > 0) note('W', name, offset, data, result);
    pthread_mutex_unlock(&order);
    return result;
}
