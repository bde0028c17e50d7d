/* Raw Linux x86-64 system calls for the programs the lab runs inside a guest.
 *
 * No libc: in a world whose CPUID lies about AVX-512, glibc picks string functions that fault
 * before main. Numbers: arch/x86/entry/syscalls/syscall_64.tbl. Structures:
 * include/uapi/asm-generic and arch/x86/include/uapi/asm.
 */
#ifndef LAB_SYS_H
#define LAB_SYS_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

enum {
    NR_read = 0,
    NR_write = 1,
    NR_open = 2,
    NR_close = 3,
    NR_lseek = 8,
    NR_mmap = 9,
    NR_rt_sigaction = 13,
    NR_rt_sigprocmask = 14,
    NR_ioctl = 16,
    NR_dup2 = 33,
    NR_getpid = 39,
    NR_fork = 57,
    NR_execve = 59,
    NR_exit = 60,
    NR_wait4 = 61,
    NR_kill = 62,
    NR_chdir = 80,
    NR_mkdir = 83,
    NR_sync = 162,
    NR_chroot = 161,
    NR_mount = 165,
    NR_reboot = 169,
    NR_rt_sigtimedwait = 128,
    NR_sched_getaffinity = 204,
    NR_clock_gettime = 228,
};

static inline long
sys6(long nr, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline long
sys3(long nr, long a, long b, long c)
{
    return sys6(nr, a, b, c, 0, 0, 0);
}

/* GCC may turn loops into calls of these even with -ffreestanding. */
void *
memset(void *to, int byte, u64 n)
{
    u8 *t = to;

    while (n--)
        *t++ = (u8)byte;
    return to;
}

void *
memcpy(void *to, const void *from, u64 n)
{
    u8 *t = to;
    const u8 *f = from;

    while (n--)
        *t++ = *f++;
    return to;
}

static inline u64
length(const char *s)
{
    u64 n = 0;

    while (s[n])
        n++;
    return n;
}

static inline int
same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static inline void
put_bytes(int fd, const char *bytes, u64 n)
{
    while (n) {
        long done = sys3(NR_write, fd, (long)bytes, (long)n);

        if (done <= 0)
            return;
        bytes += done;
        n -= (u64)done;
    }
}

static inline void
put(int fd, const char *s)
{
    put_bytes(fd, s, length(s));
}

static inline void
put_number(int fd, u64 value, u32 base)
{
    char digits[24];
    char *p = digits + sizeof digits;

    do {
        *--p = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    put_bytes(fd, p, (u64)(digits + sizeof digits - p));
}

/* Reads at most `room - 1` bytes of a file and ends them with NUL; a negative errno if it cannot be
 * opened. */
static inline long
slurp(const char *path, char *buffer, u64 room)
{
    long fd = sys3(NR_open, (long)path, 0 /* O_RDONLY */, 0);
    u64 n = 0;

    buffer[0] = 0;
    if (fd < 0)
        return fd;
    while (n < room - 1) {
        long got = sys3(NR_read, fd, (long)(buffer + n), (long)(room - 1 - n));

        if (got <= 0)
            break;
        n += (u64)got;
    }
    buffer[n] = 0;
    sys3(NR_close, fd, 0, 0);
    return (long)n;
}

/* The kernel enters with argc, argv, envp on the stack (psABI 3.4.1); the C part wants them in a
 * pointer. */
__asm__(".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call start\n"
        "    ud2\n");

#endif
