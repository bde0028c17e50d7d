/*
 * A program that has its own affairs and libcpuprobe in its own process: handlers for SIGILL and
 * SIGCHLD, children, many threads, vector registers in use, a stack that is not aligned. It ends
 * with 0 if nothing of that was touched and every thread got the same flags.
 */
#include <cpuprobe.h>

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 200

static atomic_int illegal, children;
static char wanted[CPUPROBE_FLAGS_BYTES];
static const char *cache;

static void
fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void
on_illegal(int number)
{
    (void)number;
    illegal++;
}

static void
on_child(int number)
{
    (void)number;
    children++;
}

/* Calls with a stack pointer that is off by eight. */
static long
call_misaligned(unsigned int major, char *out, size_t size)
{
    long result;

    __asm__ volatile("mov %%rsp, %%rbx\n"
                     "and $-16, %%rsp\n"
                     "sub $136, %%rsp\n" /* past the red zone, and 8 off */
                     "call *%[function]\n"
                     "mov %%rbx, %%rsp\n"
                     : "=a"(result)
                     : [function] "r"(cpuprobe_safe_flags), "D"(major), "S"(out), "d"(size)
                     : "rbx", "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
    return result;
}

static void *
thread(void *argument)
{
    char flags[CPUPROBE_FLAGS_BYTES];
    size_t number = (size_t)argument;
    long length;

    if (number % 4 == 0)
        length = call_misaligned(0, flags, sizeof flags);
    else if (number % 4 == 1)
        length = cpuprobe_safe_flags_cached(cache, 0, flags, sizeof flags);
    else
        length = cpuprobe_safe_flags(0, flags, sizeof flags);
    if (length < 0)
        fail(cpuprobe_error_text(length));
    if (strcmp(flags, wanted) != 0)
        fail("another thread got other flags");
    return NULL;
}

static int
open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static long
mapped_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0;

    if (file == NULL || fscanf(file, "%ld", &pages) != 1)
        fail("statm");
    fclose(file);
    return pages;
}

int
main(int count, char **arguments)
{
    struct sigaction mine = {.sa_handler = on_illegal}, child = {.sa_handler = on_child}, now;
    struct cpuprobe_verdict verdict = {.size = sizeof verdict};
    static pthread_t threads[THREADS];
    pthread_attr_t attributes;
    cpu_set_t before, after;
    stack_t stack;
    sigset_t mask;
    pid_t own;
    int files, status;
    long pages;

    if (count != 2)
        return 2;
    cache = arguments[1];
    sigaction(SIGILL, &mine, NULL);
    sigaction(SIGCHLD, &child, NULL);
    sched_getaffinity(0, sizeof before, &before);
    own = fork();
    if (own == 0)
        pause();
    if (cpuprobe_safe_flags(0, wanted, sizeof wanted) < 0)
        fail("the first call");
    files = open_files();
    pages = mapped_pages();
    for (int i = 0; i < 20; i++)
        if (cpuprobe_safe_flags_cached(cache, 0, wanted, sizeof wanted) < 0 || cpuprobe_level() < 0)
            fail("a later call");
    if (open_files() != files || mapped_pages() > pages)
        fail("a file or memory stays");

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536 + 16384); /* what glibc itself wants on top */
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], &attributes, thread, (void *)i) != 0)
            fail("pthread_create");
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    if (cpuprobe_judge(NULL, &verdict) != 0 || strcmp(verdict.flags, wanted) != 0)
        fail("the verdict has other flags");
    sigaction(SIGILL, NULL, &now);
    if (now.sa_handler != on_illegal || illegal != 0)
        fail("SIGILL");
    sigaction(SIGCHLD, NULL, &now);
    if (now.sa_handler != on_child || (children != 0 && getenv("EMULATED") == NULL))
        fail("SIGCHLD");
    sigprocmask(SIG_SETMASK, NULL, &mask);
    sigaltstack(NULL, &stack);
    sched_getaffinity(0, sizeof after, &after);
    if (sigismember(&mask, SIGILL) || sigismember(&mask, SIGCHLD) ||
        !(stack.ss_flags & SS_DISABLE) || !CPU_EQUAL(&before, &after))
        fail("mask, stack or affinity");
    kill(own, SIGKILL);
    if (waitpid(own, &status, 0) != own)
        fail("its own child is gone");
    puts("untouched");
    return 0;
}
