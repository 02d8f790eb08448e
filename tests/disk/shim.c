/* Faults in system calls: preloaded into a process (LD_PRELOAD), idle until `fault_add` arms it.

   A fault strikes at the n-th call of one name, or of any, counted from when it was added: the call fails without or
   after having taken effect, a write takes only half of its data, or the process is killed before, in the middle of or
   after the call. The system's headers are left out, because the functions are declared here under both of their names. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

enum what { NOTHING, FAIL, FAIL_AFTER, SHORT, KILL_BEFORE, KILL_MIDDLE, KILL_AFTER };

#define MOST_FAULTS 4
#define LONGEST_STORY 65536

static struct {
    char call[16];
    long first, times, seen;
    int what, number;
} faults[MOST_FAULTS];
static int armed;
static char story[LONGEST_STORY];
static size_t told;

int fault_add(const char *call, long first, long times, int what, int number)
{
    if (armed == MOST_FAULTS || strlen(call) >= sizeof faults[0].call)
        return -1;
    strcpy(faults[armed].call, call);
    faults[armed].first = first;
    faults[armed].times = times;
    faults[armed].seen = 0;
    faults[armed].what = what;
    faults[armed].number = number;
    if (!armed)
        story[told = 0] = '\0';
    armed++;
    return 0;
}

/* Disarm all; the names of all calls since the first was armed, a space after each. */
const char *fault_clear(void)
{
    armed = 0;
    return story;
}

static int strike(const char *call, int *number)
{
    int what = NOTHING;
    size_t length = strlen(call);
    if (!armed)
        return NOTHING;
    if (told + length + 2 < sizeof story) {
        memcpy(story + told, call, length);
        story[told += length] = ' ';
        story[++told] = '\0';
    }
    for (int index = 0; index < armed; index++) {
        if (strcmp(faults[index].call, "*") && strcmp(faults[index].call, call))
            continue;
        long turn = faults[index].seen++ - faults[index].first;
        if (turn >= 0 && turn < faults[index].times) {
            what = faults[index].what;
            *number = faults[index].number;
        }
    }
    if (what == KILL_BEFORE || (what == KILL_MIDDLE && strcmp(call, "write")))
        raise(SIGKILL);
    return what;
}

/* `lost`: what becomes of a result that nobody gets. */
#define SWITCH(type, failed, call, name, parameters, arguments, closes, lost)                                          \
    type name parameters                                                                                               \
    {                                                                                                                  \
        static type(*real) parameters;                                                                                 \
        int number = 0, what = strike(call, &number);                                                                  \
        if (!real)                                                                                                     \
            *(void **)&real = dlsym(RTLD_NEXT, #name);                                                                 \
        if (what == FAIL && !(closes)) {                                                                               \
            errno = number;                                                                                            \
            return failed;                                                                                             \
        }                                                                                                              \
        type result = real arguments;                                                                                  \
        if (what == KILL_AFTER)                                                                                        \
            raise(SIGKILL);                                                                                            \
        if (what == FAIL_AFTER || what == FAIL) {                                                                      \
            int kept = armed;                                                                                          \
            armed = 0; /* giving it up is no call of the program's */                                                  \
            lost;                                                                                                      \
            armed = kept;                                                                                              \
            errno = number;                                                                                            \
            return failed;                                                                                             \
        }                                                                                                              \
        return result;                                                                                                 \
    }

#define CALL(call, name, parameters, arguments) SWITCH(int, -1, call, name, parameters, arguments, 0, (void)0)
#define OPEN(name)                                                                                                     \
    SWITCH(int, -1, "open", name, (const char *path, int flags, unsigned mode), (path, flags, mode), 0, close(result))

int close(int);
int closedir(void *);

OPEN(open)
OPEN(open64)
CALL("stat", stat, (const char *path, void *about), (path, about))
CALL("stat", stat64, (const char *path, void *about), (path, about))
CALL("lstat", lstat, (const char *path, void *about), (path, about))
CALL("lstat", lstat64, (const char *path, void *about), (path, about))
CALL("fstat", fstat, (int file, void *about), (file, about))
CALL("fstat", fstat64, (int file, void *about), (file, about))
CALL("fsync", fsync, (int file), (file))
CALL("rename", rename, (const char *source, const char *target), (source, target))
CALL("fchmod", fchmod, (int file, unsigned mode), (file, mode))
CALL("fchown", fchown, (int file, unsigned user, unsigned group), (file, user, group))
CALL("unlink", unlink, (const char *path), (path))
CALL("mkdir", mkdir, (const char *path, unsigned mode), (path, mode))
CALL("flock", flock, (int file, int how), (file, how))
CALL("ftruncate", ftruncate, (int file, long size), (file, size))
CALL("ftruncate", ftruncate64, (int file, long size), (file, size))
SWITCH(int, -1, "close", close, (int file), (file), 1, (void)0) /* one that fails has closed all the same */
SWITCH(void *, NULL, "opendir", opendir, (const char *path), (path), 0, closedir(result))
SWITCH(ptrdiff_t, -1, "readlink", readlink, (const char *path, char *text, size_t size), (path, text, size), 0,
       (void)0)

/* A write's data may go in halves. */
ptrdiff_t write(int file, const void *data, size_t size)
{
    static ptrdiff_t (*real)(int, const void *, size_t);
    int number = 0, what = strike("write", &number);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    if (what == FAIL) {
        errno = number;
        return -1;
    }
    ptrdiff_t result = real(file, data, what == SHORT || what == KILL_MIDDLE ? (size + 1) / 2 : size);
    if (what == KILL_MIDDLE || what == KILL_AFTER)
        raise(SIGKILL);
    if (what == FAIL_AFTER) {
        errno = number;
        return -1;
    }
    return result;
}
