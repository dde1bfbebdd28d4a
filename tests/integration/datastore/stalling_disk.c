/* LD_PRELOAD: syncs of files below $STALL_PREFIX hang for as long as the file $STALL_WHILE exists.
 *
 * What a process sees of a disk that does not answer: writes go to the page cache, fsync does not return.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int concerned(int fd) {
    const char *prefix = getenv("STALL_PREFIX");
    char link[64], path[4096];
    if (!prefix) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

static void hang(int fd) {
    const char *marker = getenv("STALL_WHILE");
    const struct timespec pause = {0, 10 * 1000 * 1000};
    if (!marker || !concerned(fd)) return;
    while (access(marker, F_OK) == 0) nanosleep(&pause, NULL);
}

int fsync(int fd) {
    hang(fd);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return real(fd);
}

int fdatasync(int fd) {
    hang(fd);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
