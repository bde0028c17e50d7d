/* The lab's own small witness: proves that a world is what its name says, without help from
 * cpuprobe.
 *
 * Prints one JSON object: CPUID words, XCR0, what a few instructions did, what the kernel lists.
 * Everything is judged by value or by signal. No libc (see sys.h). CPUID and XGETBV: SDM vol. 2A;
 * signal frame: the psABI and arch/x86/include/uapi/asm/sigcontext.h.
 */
#include "sys.h"

enum {
    SIGILL_NR = 4,
    SIGTRAP_NR = 5,
    SIGBUS_NR = 7,
    SIGFPE_NR = 8,
    SIGSEGV_NR = 11,
    UCONTEXT_RIP = 168
};

static char text[1 << 18];
static volatile u64 resume_at;
static volatile int caught;

struct kernel_sigaction {
    void (*handler)(int, void *, void *);
    u64 flags;
    void (*restorer)(void);
    u64 mask;
};

__asm__("lab_restorer:\n"
        "    mov $15, %eax\n" /* rt_sigreturn */
        "    syscall\n");
extern void lab_restorer(void);

static void
on_signal(int number, void *info, void *context)
{
    (void)info;
    if (!resume_at)
        sys3(NR_exit, 128 + number, 0, 0);
    caught = number;
    *(u64 *)((char *)context + UCONTEXT_RIP) = resume_at;
    resume_at = 0;
}

static void
cpuid(u32 leaf, u32 subleaf, u32 out[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "0"(leaf), "2"(subleaf));
}

/* Runs CODE between an armed handler and label 1; `value` (rax) is what it computed from `input`
 * (rcx). */
#define RUN(code, input)                                                                           \
    do {                                                                                           \
        caught = 0;                                                                                \
        value = 0;                                                                                 \
        __asm__ volatile("lea 1f(%%rip), %%rdx\n\tmov %%rdx, %1\n\t" code "\n1:"                   \
                         : "+a"(value), "=m"(resume_at)                                            \
                         : "c"((u64)(input))                                                       \
                         : "rdx", "xmm0", "xmm1", "memory");                                       \
        resume_at = 0;                                                                             \
    } while (0)

static void
tell(const char *name, u64 value, u64 wanted)
{
    put(1, "\"");
    put(1, name);
    put(1, "\": \"");
    put(1, caught == SIGILL_NR    ? "sigill"
           : caught == SIGSEGV_NR ? "sigsegv"
           : caught               ? "signal"
           : value == wanted      ? "ok"
                                  : "wrong");
    put(1, "\", ");
}

static void
tell_hex(const char *name, u64 value)
{
    put(1, "\"");
    put(1, name);
    put(1, "\": \"0x");
    put_number(1, value, 16);
    put(1, "\", ");
}

/* Prints a string up to its first newline; the kernel's texts here hold no quote or backslash. */
static void
tell_line(const char *name, const char *s)
{
    u64 n = 0;

    while (s[n] && s[n] != '\n' && s[n] != '"' && s[n] != '\\')
        n++;
    put(1, "\"");
    put(1, name);
    put(1, "\": \"");
    put_bytes(1, s, n);
    put(1, "\", ");
}

static void
tell_cpuinfo(void)
{
    const char *p = text, *flags = 0;
    u64 cpus = 0;

    slurp("/proc/cpuinfo", text, sizeof text);
    for (; *p; p++) {
        if (p != text && p[-1] != '\n')
            continue;
        if (p[0] == 'p' && p[1] == 'r' && p[2] == 'o' && p[3] == 'c')
            cpus++;
        if (!flags && p[0] == 'f' && p[1] == 'l' && p[2] == 'a' && p[3] == 'g' && p[4] == 's')
            flags = p;
    }
    while (flags && *flags && *flags != ':')
        flags++;
    tell_line("flags", flags && *flags ? flags + 1 : "");
    put(1, "\"listed_cpus\": ");
    put_number(1, cpus, 10);
    put(1, ", ");
}

__attribute__((used)) void
start(void)
{
    static const int signals[] = {SIGILL_NR, SIGTRAP_NR, SIGBUS_NR, SIGFPE_NR, SIGSEGV_NR};
    struct kernel_sigaction action = {
        on_signal, 0x44000004 /* SA_SIGINFO | SA_RESTORER | SA_NODEFER */, lab_restorer, 0};
    u64 mask[128] = {0};
    u32 word[4];
    u64 value, allowed = 0;

    for (u64 i = 0; i < sizeof signals / sizeof *signals; i++)
        sys6(NR_rt_sigaction, signals[i], (long)&action, 0, 8, 0, 0);

    put(1, "{");
    cpuid(0, 0, word);
    u32 last = word[0];
    u32 vendor[4] = {word[1], word[3], word[2], 0};
    tell_line("vendor", (const char *)vendor);
    cpuid(1, 0, word);
    tell_hex("leaf1_eax", word[0]);
    tell_hex("leaf1_ecx", word[2]);
    tell_hex("leaf1_edx", word[3]);
    memset(word, 0, sizeof word);
    if (last >= 7)
        cpuid(7, 0, word);
    tell_hex("leaf7_ebx", word[1]);
    cpuid(0x80000001, 0, word);
    tell_hex("leaf80000001_ecx", word[2]);

    RUN("xor %%ecx, %%ecx\n\txgetbv",
        0); /* EDX:EAX; only bits below 32 are in use in these worlds. */
    if (caught)
        put(1, "\"xcr0\": null, ");
    else
        tell_hex("xcr0", (u32)value);

    RUN("vmovd %%ecx, %%xmm0\n\tvaddps %%ymm0, %%ymm0, %%ymm0\n\tvmovd %%xmm0, %%eax", 0x3f800000);
    tell("avx", value, 0x40000000); /* 1.0 + 1.0 */
    RUN("vmovd %%ecx, %%xmm0\n\tvpaddd %%ymm0, %%ymm0, %%ymm0\n\tvmovd %%xmm0, %%eax", 21);
    tell("avx2", value, 42);
    RUN("vmovd %%ecx, %%xmm0\n\tvfmadd213ss %%xmm0, %%xmm0, %%xmm0\n\tvmovd %%xmm0, %%eax",
        0x40000000);
    tell("fma", value, 0x40c00000); /* 2 * 2 + 2 = 6 */
    RUN("vmovd %%ecx, %%xmm0\n\tvcvtph2ps %%xmm0, %%xmm0\n\tvmovd %%xmm0, %%eax", 0x3c00);
    tell("f16c", value, 0x3f800000); /* 1.0 */
    RUN("andn %%rcx, %%rax, %%rax", 5);
    tell("bmi1", value, 5);
    RUN("mov $1, %%edx\n\tshlx %%rdx, %%rcx, %%rax", 5);
    tell("bmi2", value, 10);
    RUN("lzcnt %%ecx, %%eax", 16);
    tell("lzcnt", value, 27);
    RUN("popcnt %%ecx, %%eax", 0xff);
    tell("popcnt", value, 8);
    RUN("movd %%ecx, %%xmm0\n\tpmulld %%xmm0, %%xmm0\n\tmovd %%xmm0, %%eax", 7);
    tell("sse41", value, 49);
    RUN("movd %%ecx, %%xmm0\n\tmovd %%xmm0, %%eax\n\tinsertq $8, $8, %%xmm0, %%xmm0\n\tmovd "
        "%%xmm0, %%eax",
        0x41);
    tell("sse4a", value, 0x4141);
    RUN("rdfsbase %%rax\n\tmov $9, %%eax", 0); /* #UD without CR4.FSGSBASE, whatever CPUID says */
    tell("fsgsbase", value, 9);
    RUN("rdpkru\n\tmov $9, %%eax", 0); /* #UD without CR4.PKE */
    tell("pku", value, 9);
    /* EVEX vpaddd zmm0, zmm0, zmm0: as bytes, for old assemblers. */
    RUN("movd %%ecx, %%xmm0\n\t.byte 0x62, 0xf1, 0x7d, 0x48, 0xfe, 0xc0\n\tmovd %%xmm0, %%eax", 21);
    tell("avx512f", value, 42);

    slurp("/sys/devices/system/cpu/vulnerabilities/gather_data_sampling", text, sizeof text);
    tell_line("gds", text);
    slurp("/sys/devices/system/cpu/online", text, sizeof text);
    tell_line("online", text);
    slurp("/proc/version", text, sizeof text);
    tell_line("version", text);
    tell_cpuinfo();
    sys3(NR_sched_getaffinity, 0, sizeof mask, (long)mask);
    for (u64 i = 0; i < sizeof mask / sizeof *mask; i++)
        for (u64 bits = mask[i]; bits; bits &= bits - 1)
            allowed++;
    put(1, "\"allowed_cpus\": ");
    put_number(1, allowed, 10);
    put(1, "}\n");
    sys3(NR_exit, 0, 0, 0);
}
