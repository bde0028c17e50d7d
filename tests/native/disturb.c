/*
 * Runs a program, and disturbs its child at some moment.
 *
 *   disturb kill MICROSECONDS PROGRAM [ARGUMENTS]    SIGKILL, as the OOM killer sends it
 *   disturb stop MICROSECONDS PROGRAM [ARGUMENTS]    SIGSTOP, and SIGCONT after STOPPED microseconds
 *   disturb hunt MICROSECONDS PROGRAM [ARGUMENTS]    SIGKILL, to each child that it starts
 *   disturb move MICROSECONDS PROGRAM [ARGUMENTS]    sched_setaffinity to each CPU in turn, always on
 *
 * MICROSECONDS is how long after its birth. Ends with the program's exit code, 128 + its signal, or
 * 99 where there is no child to be found.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef STOPPED
#define STOPPED 150000
#endif

/* The first child of a process, 0 if it has none. */
static pid_t
child_of(pid_t parent)
{
    char path[64], text[32] = "";
    int descriptor;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent, parent);
    descriptor = open(path, O_RDONLY);
    if (descriptor < 0)
        return 0;
    if (read(descriptor, text, sizeof text - 1) < 0)
        text[0] = '\0';
    close(descriptor);
    return (pid_t)atoi(text);
}

static void
wait_microseconds(long microseconds)
{
    struct timespec start, now;

    clock_gettime(CLOCK_MONOTONIC, &start);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000 <
           microseconds);
}

static int
ended(pid_t program, int *status)
{
    return waitpid(program, status, WNOHANG) == program;
}

static void
move(pid_t program, int *status)
{
    cpu_set_t allowed, one;

    sched_getaffinity(0, sizeof allowed, &allowed);
    for (int cpu = 0; !ended(program, status); cpu = (cpu + 1) % CPU_SETSIZE) {
        pid_t child = child_of(program);

        if (!CPU_ISSET(cpu, &allowed) || child == 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(child, sizeof one, &one);
    }
}

static void
hunt(pid_t program, long microseconds, int *status)
{
    while (!ended(program, status)) {
        pid_t child = child_of(program);

        if (child == 0)
            continue;
        wait_microseconds(microseconds);
        kill(child, SIGKILL);
    }
}

int
main(int count, char **arguments)
{
    pid_t program, child = 0;
    int status = 0;

    if (count < 4)
        return 2;
    program = fork();
    if (program == 0) {
        execv(arguments[3], arguments + 3);
        _exit(97);
    }
    while (child == 0) {
        child = child_of(program);
        if (child == 0 && ended(program, &status))
            return 99;
    }
    wait_microseconds(atol(arguments[2]));
    if (strcmp(arguments[1], "move") == 0)
        move(program, &status);
    else if (strcmp(arguments[1], "hunt") == 0)
        hunt(program, atol(arguments[2]), &status);
    else {
        kill(child, arguments[1][0] == 'k' ? SIGKILL : SIGSTOP);
        if (arguments[1][0] == 's') {
            usleep(STOPPED);
            kill(child, SIGCONT);
        }
        waitpid(program, &status, 0);
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
