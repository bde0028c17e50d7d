/*
 * Runs a program, and kills its child at one place of its code.
 *
 *   kill_at ADDRESS HIT TIMES PROGRAM [ARGUMENTS]
 *
 * A child dies, of SIGKILL as the OOM killer sends it, when it comes to ADDRESS for the HIT-th
 * time; TIMES children do, the ones that follow live. Ends with the program's exit code, 128 + its
 * signal, 99 if none came there, or 98 where nobody may be traced.
 *
 * The children are traced (ptrace(2)) and stand at a breakpoint of their own; the program itself is
 * left as it is.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define INT3 0xccul

static unsigned long address, word; /* of the code there, as it was */
static long hit, times, killed;

static void
set_code(pid_t child, unsigned long code)
{
    ptrace(PTRACE_POKETEXT, child, address, code);
}

static void
arm(pid_t child)
{
    set_code(child, (word & ~0xfful) | INT3);
}

static bool
is_there(pid_t child, struct user_regs_struct *registers)
{
    ptrace(PTRACE_GETREGS, child, 0, registers);
    return registers->rip == address + 1;
}

/* Executes what stands under the breakpoint; returns the signal to go on with. */
static int
step(pid_t child, struct user_regs_struct *registers)
{
    int status = 0;

    registers->rip = address;
    ptrace(PTRACE_SETREGS, child, 0, registers);
    set_code(child, word);
    ptrace(PTRACE_SINGLESTEP, child, 0, 0);
    waitpid(child, &status, __WALL);
    arm(child);
    return WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : 0;
}

/* The child has stopped; returns the signal to go on with. */
static int
look(pid_t child, int signal)
{
    static pid_t known;
    static long hits;
    struct user_regs_struct registers;

    if (child != known) { /* a new one, at its first instruction */
        known = child;
        hits = 0;
        word = (unsigned long)ptrace(PTRACE_PEEKTEXT, child, address, 0);
        arm(child);
        return 0;
    }
    if (signal != SIGTRAP || !is_there(child, &registers))
        return signal;
    if (++hits == hit && killed < times) {
        killed++;
        kill(child, SIGKILL);
        return 0;
    }
    return step(child, &registers);
}

int
main(int count, char **arguments)
{
    const long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL;
    pid_t program, stopped;
    int status = 0;

    if (count < 5)
        return 2;
    address = strtoul(arguments[1], NULL, 0);
    hit = atol(arguments[2]);
    times = atol(arguments[3]);
    program = fork();
    if (program == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0)
            _exit(98);
        execv(arguments[4], arguments + 4);
        _exit(97);
    }
    waitpid(program, &status, __WALL);
    if (!WIFSTOPPED(status))
        return WEXITSTATUS(status);
    ptrace(PTRACE_SETOPTIONS, program, 0, options);
    ptrace(PTRACE_CONT, program, 0, 0);
    while ((stopped = waitpid(-1, &status, __WALL)) > 0) {
        int signal = WIFSTOPPED(status) ? WSTOPSIG(status) : 0;

        if (stopped == program && !WIFSTOPPED(status))
            break;
        if (!WIFSTOPPED(status))
            continue;
        if (stopped != program)
            signal = look(stopped, signal);
        else if (status >> 16 != 0) /* it has a child */
            signal = 0;
        ptrace(PTRACE_CONT, stopped, 0, signal);
    }
    if (killed == 0)
        return 99;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
