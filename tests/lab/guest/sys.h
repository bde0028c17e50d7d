/* Raw Linux system calls for the programs the lab runs inside a guest, x86-64 and aarch64.
 *
 * No libc: in a world whose CPUID lies about AVX-512, glibc picks string functions that fault
 * before main, and where AT_HWCAP lies about LSE it dies in its atomics. Numbers:
 * arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. Structures:
 * include/uapi/asm-generic and arch/x86/include/uapi/asm.
 */
#ifndef LAB_SYS_H
#define LAB_SYS_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

#ifdef __x86_64__
enum {
    NR_read = 0,
    NR_write = 1,
    NR_close = 3,
    NR_lseek = 8,
    NR_mmap = 9,
    NR_mprotect = 10,
    NR_rt_sigaction = 13,
    NR_rt_sigprocmask = 14,
    NR_ioctl = 16,
    NR_getpid = 39,
    NR_clone = 56,
    NR_execve = 59,
    NR_exit = 60,
    NR_wait4 = 61,
    NR_kill = 62,
    NR_chdir = 80,
    NR_sync = 162,
    NR_chroot = 161,
    NR_mount = 165,
    NR_reboot = 169,
    NR_rt_sigtimedwait = 128,
    NR_sched_getaffinity = 204,
    NR_clock_gettime = 228,
    NR_openat = 257,
    NR_mkdirat = 258,
    NR_dup3 = 292,
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

/* The kernel enters with argc, argv, envp on the stack (psABI 3.4.1); the C part wants them in a
 * pointer. */
__asm__(".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call start\n"
        "    ud2\n");
#else
enum {
    NR_dup3 = 24,
    NR_ioctl = 29,
    NR_mkdirat = 34,
    NR_mount = 40,
    NR_chdir = 49,
    NR_chroot = 51,
    NR_openat = 56,
    NR_close = 57,
    NR_lseek = 62,
    NR_read = 63,
    NR_write = 64,
    NR_sync = 81,
    NR_exit = 93,
    NR_clock_gettime = 113,
    NR_sched_getaffinity = 123,
    NR_kill = 129,
    NR_rt_sigaction = 134,
    NR_rt_sigprocmask = 135,
    NR_rt_sigtimedwait = 137,
    NR_reboot = 142,
    NR_getpid = 172,
    NR_clone = 220,
    NR_execve = 221,
    NR_mmap = 222,
    NR_mprotect = 226,
    NR_wait4 = 260,
};

static inline long
sys6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;

    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

__asm__(".globl _start\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x0, sp\n"
        "    bl start\n"
        "    udf #0\n");
#endif

static inline long
sys3(long nr, long a, long b, long c)
{
    return sys6(nr, a, b, c, 0, 0, 0);
}

enum { AT_FDCWD = -100 };

static inline long
open_file(const char *path, long flags, long mode)
{
    return sys6(NR_openat, AT_FDCWD, (long)path, flags, mode, 0, 0);
}

static inline long
fork(void)
{
    return sys6(NR_clone, 17 /* SIGCHLD */, 0, 0, 0, 0, 0);
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
    long fd = open_file(path, 0 /* O_RDONLY */, 0);
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

#endif
