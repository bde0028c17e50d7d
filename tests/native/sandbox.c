/*
 * Runs a program under a seccomp filter that denies one system call, or kills at it.
 *
 *   sandbox deny|kill NUMBER PROGRAM [ARGUMENTS]
 *
 * The filter is this program's own (seccomp(2), "SECCOMP_SET_MODE_FILTER"); it lets the execve that
 * starts the program through.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int
main(int count, char **arguments)
{
    unsigned int number = count > 3 ? (unsigned int)strtoul(arguments[2], NULL, 10) : SYS_execve;
    unsigned int action = SECCOMP_RET_ERRNO | EPERM;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

    if (number == SYS_execve)
        return 99;
    if (strcmp(arguments[1], "kill") == 0)
        filter[4].k = SECCOMP_RET_KILL_PROCESS;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        return 98;
    execv(arguments[3], arguments + 3);
    return 97;
}
