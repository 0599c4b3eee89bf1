/* Makes a disk slow or bad for the process that preloads it. The directory that TEST_DISK names
 * says how: while it has a file `held`, a sync waits; while it has a file `slow`, a sync
 * takes 300 ms; while it has a file `bad`, a sync fails. Its file
 * `synced` holds the length of the file that was synced last, and each line of `syncs` the name of one
 * that was synced, or `removed` and the name of one that was. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int told(const char *what) {
    char path[4096];
    const char *directory = getenv("TEST_DISK");
    if (directory == NULL) {
        return 0;
    }
    snprintf(path, sizeof path, "%s/%s", directory, what);
    return access(path, F_OK) == 0;
}

static void tell_name(const char *what, const char *name) {
    char path[4096];
    const char *directory = getenv("TEST_DISK");
    if (directory == NULL) {
        return;
    }
    snprintf(path, sizeof path, "%s/syncs", directory);
    FILE *syncs = fopen(path, "a");
    const char *slash = strrchr(name, '/');
    if (syncs != NULL) {
        fprintf(syncs, "%s%s\n", what, slash == NULL ? name : slash + 1);
        fclose(syncs);
    }
}

static void tell(int file) {
    char path[4096];
    struct stat state;
    const char *directory = getenv("TEST_DISK");
    if (directory == NULL || fstat(file, &state) != 0) {
        return;
    }
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length >= 0) {
        name[length] = 0;
        tell_name("", name);
    }
    if (!S_ISREG(state.st_mode)) {
        return;
    }
    snprintf(path, sizeof path, "%s/synced", directory);
    FILE *out = fopen(path, "w");
    if (out != NULL) {
        fprintf(out, "%lld", (long long)state.st_size);
        fclose(out);
    }
}

int fdatasync(int file) {
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    while (told("held")) {
        usleep(1000);
    }
    if (told("slow")) {
        usleep(300000);
    }
    if (told("bad")) {
        errno = EIO;
        return -1;
    }
    int result = sync(file);
    tell(file);
    return result;
}

int fsync(int file) {
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int result = sync(file);
    tell(file);
    return result;
}

int unlink(const char *path) {
    int (*remove)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    int result = remove(path);
    if (result == 0) {
        tell_name("removed ", path);
    }
    return result;
}
