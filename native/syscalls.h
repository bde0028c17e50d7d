/*
 * Raw Linux system calls: the core's only way to the kernel.
 *
 * libc is left out on purpose. Where more is claimed than the silicon does, glibc picks its string
 * functions and atomics by that claim and dies before main; a probe built on it would die with it.
 * Every call returns what the kernel returns: a value, or -errno.
 */
#ifndef CPUPROBE_SYSCALLS_H
#define CPUPROBE_SYSCALLS_H

#include "core.h"

#include "system_call.h"

#define syscall0(n) syscall6((n), 0, 0, 0, 0, 0, 0)
#define syscall1(n, a) syscall6((n), (long)(a), 0, 0, 0, 0, 0)
#define syscall2(n, a, b) syscall6((n), (long)(a), (long)(b), 0, 0, 0, 0)
#define syscall3(n, a, b, c) syscall6((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define syscall4(n, a, b, c, d) syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define syscall5(n, a, b, c, d, e)                                                                 \
    syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

#define ERRNO_EPERM 1
#define ERRNO_EINTR 4
#define ERRNO_ECHILD 10
#define ERRNO_EAGAIN 11
#define ERRNO_ENOMEM 12
#define ERRNO_EACCES 13
#define ERRNO_EINVAL 22
#define ERRNO_EPIPE 32
#define ERRNO_ENOSYS 38

static inline bool
failed(long result)
{
    return result < 0 && result > -4096;
}

/* Makes a system call whose name is known to the parent even if it is the child's last. */
#define NOTED(trouble, number, expression)                                                         \
    ((trouble)->call = (number), note_result((trouble), (expression)))

static inline long
note_result(struct trouble *trouble, long result)
{
    trouble->error = failed(result) ? (int16_t)-result : 0;
    return result;
}

#endif
