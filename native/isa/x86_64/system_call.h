/* A Linux system call on x86-64: syscalls.h. */
#ifndef CPUPROBE_SYSTEM_CALL_H
#define CPUPROBE_SYSTEM_CALL_H

#include <asm/unistd_64.h>

static inline long
syscall6(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#endif
