/* A host that has slept, for one process: what it reads as the time since the start includes what a file says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *to) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, to);
    const char *name = id == CLOCK_BOOTTIME ? getenv("STEADFAST_TEST_SLEPT") : NULL;
    FILE *file = name ? fopen(name, "r") : NULL;
    if (file) {
        long seconds = 0;
        if (fscanf(file, "%ld", &seconds) == 1)
            to->tv_sec += seconds;
        fclose(file);
    }
    return result;
}
