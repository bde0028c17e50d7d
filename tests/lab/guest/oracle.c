/* A second opinion on aarch64: executes one instruction an extension under its own handler.
 *
 * Written from the Arm ARM without a look at the probe's candidates, so that the two can disagree.
 * Prints one JSON object: what each instruction did, what an extension does that no fault shows,
 * the auxiliary vector's words, what the kernel lists and the ID registers. An ordinary static
 * program of glibc.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/* Name of the feature (LLVM's, else the kernel's), instruction word, and how it is run: 'n' as it
 * is, 's' in streaming mode with ZA on. x0 points to 64 aligned bytes, the others are 0. */
/* clang-format off */
#define CASES(X)                                                \
    X("fp-armv8", 'n', 0x1e633841)     /* fsub d1, d2, d3 */               \
    X("neon", 'n', 0x6e637c41)         /* uaba v1.8h, v2.8h, v3.8h */      \
    X("aes", 'n', 0x4e286841)          /* aesmc v1.16b, v2.16b */          \
    X("pmull", 'n', 0x4ee3e041)        /* pmull2 v1.1q, v2.2d, v3.2d */    \
    X("sha1", 'n', 0x5e281841)         /* sha1su1 v1.4s, v2.4s */          \
    X("sha2", 'n', 0x5e034041)         /* sha256h q1, q2, v3.4s */         \
    X("crc", 'n', 0x9ac55c83)          /* crc32cx w3, w4, x5 */            \
    X("lse", 'n', 0xf8e38004)          /* swpal x3, x4, [x0] */            \
    X("rdm", 'n', 0x6e838c41)          /* sqrdmlsh v1.4s, v2.4s, v3.4s */  \
    X("fullfp16", 'n', 0x1ee30841)     /* fmul h1, h2, h3 */               \
    X("asimdhp", 'n', 0x6e431c41)      /* fmul v1.8h, v2.8h, v3.8h */      \
    X("fp16fml", 'n', 0x4ea3ec41)      /* fmlsl v1.4s, v2.4h, v3.4h */     \
    X("dotprod", 'n', 0x6e839441)      /* udot v1.4s, v2.16b, v3.16b */    \
    X("sha512", 'n', 0xce638041)       /* sha512h q1, q2, v3.2d */         \
    X("sha3", 'n', 0xce231041)         /* bcax v1, v2, v3, v4 (16b) */     \
    X("sm3", 'n', 0xce63c041)          /* sm3partw1 v1.4s, v2.4s, v3.4s */ \
    X("sm4", 'n', 0xce63c841)          /* sm4ekey v1.4s, v2.4s, v3.4s */   \
    X("ccpp", 'n', 0xd50b7c20)         /* dc cvap, x0 */                   \
    X("ccdp", 'n', 0xd50b7d20)         /* dc cvadp, x0 */                  \
    X("bf16", 'n', 0x0ea16841)         /* bfcvtn v1.4h, v2.4s */           \
    X("i8mm", 'n', 0x6e83a441)         /* ummla v1.4s, v2.16b, v3.16b */   \
    X("pauth", 'n', 0xdac10083)        /* pacia x3, x4 */                  \
    X("pacga", 'n', 0x9ac53083)        /* pacga x3, x4, x5 */              \
    X("jsconv", 'n', 0x1e7e0023)       /* fjcvtzs w3, d1 */                \
    X("complxnum", 'n', 0x6e83cc41)    /* fcmla v1, v2, v3 (4s), #90 */    \
    X("rcpc", 'n', 0x78bfc003)         /* ldaprh w3, [x0] */               \
    X("rcpc-immo", 'n', 0xd9008003)    /* stlur x3, [x0, #8] */            \
    X("dit", 'n', 0xd53b42a3)          /* mrs x3, dit */                   \
    X("flagm", 'n', 0x3a00086d)        /* setf8 w3 */                      \
    X("altnzcv", 'n', 0xd500403f)      /* xaflag */                        \
    X("fptoint", 'n', 0x1e69c041)      /* frint64x d1, d2 */               \
    X("sb", 'n', 0xd50330ff)           /* sb */                            \
    X("ssbs", 'n', 0xd53b42c3)         /* mrs x3, ssbs */                  \
    X("rand", 'n', 0xd53b2403)         /* mrs x3, rndr */                  \
    X("mte", 'n', 0x9ac41403)          /* gmi x3, x0, x4 */                \
    X("ecv", 'n', 0xd53be0c3)          /* mrs x3, cntvctss_el0 */          \
    X("wfxt", 'n', 0xd5031021)         /* wfit x1 */                       \
    X("ls64", 'n', 0xf83fd004)         /* ld64b x4, [x0] */                \
    X("mops", 'n', 0x19c20420)         /* setp [x0]!, x1!, x2 */           \
    X("hbc", 'n', 0x54000031)          /* bc.ne .+4 */                     \
    X("cssc", 'n', 0xdac01883)         /* ctz x3, x4 */                    \
    X("rcpc3", 'n', 0xd9441803)        /* ldiapp x3, x4, [x0] */           \
    X("lse128", 'n', 0x19248003)       /* swpp x3, x4, [x0] */             \
    X("poe", 'n', 0xd53ba283)          /* mrs x3, por_el0 */               \
    X("lut", 'n', 0x4e833041)          /* luti2 v1.16b, {v2.16b}, v3[1] */ \
    X("faminmax", 'n', 0x4ea3dc41)     /* famax v1.4s, v2.4s, v3.4s */     \
    X("fpmr", 'n', 0xd53b4443)         /* mrs x3, fpmr */                  \
    X("fp8", 'n', 0x2e217841)          /* f1cvtl v1.8h, v2.8b */           \
    X("fp8fma", 'n', 0x0ec3fc41)       /* fmlalb v1.8h, v2.16b, v3.16b */  \
    X("fp8dot4", 'n', 0x4e03fc41)      /* fdot v1.4s, v2.16b, v3.16b */    \
    X("fp8dot2", 'n', 0x4e43fc41)      /* fdot v1.8h, v2.16b, v3.16b */    \
    X("sve", 'n', 0x04a33041)          /* eor z1.d, z2.d, z3.d */          \
    X("f32mm", 'n', 0x64a3e441)        /* fmmla z1.s, z2.s, z3.s */        \
    X("f64mm", 'n', 0x64e3e441)        /* fmmla z1.d, z2.d, z3.d */        \
    X("svebf16", 'n', 0x64638041)      /* bfdot z1.s, z2.h, z3.h */        \
    X("svei8mm", 'n', 0x45839841)      /* usmmla z1.s, z2.b, z3.b */       \
    X("sve2", 'n', 0x44833441)         /* sqrdcmlah z1, z2, z3 (s), #90 */ \
    X("sve2-aes", 'n', 0x4522e461)     /* aesd z1.b, z1.b, z3.b */         \
    X("svepmull", 'n', 0x45036c41)     /* pmullt z1.q, z2.d, z3.d */       \
    X("sve2-bitperm", 'n', 0x45c3b441) /* bdep z1.d, z2.d, z3.d */         \
    X("sve2-sha3", 'n', 0x4523f441)    /* rax1 z1.d, z2.d, z3.d */         \
    X("sve2-sm4", 'n', 0x4523f041)     /* sm4ekey z1.s, z2.s, z3.s */      \
    X("sve2p1", 'n', 0x04052041)       /* addqv v1.16b, p0, z2.b */        \
    X("sve-b16b16", 'n', 0x64232441)   /* bfclamp z1.h, z2.h, z3.h */      \
    X("sme", 'n', 0x04bf5823)          /* rdsvl x3, #1 */                  \
    X("sme-i16i64", 's', 0xa0c32041)   /* smopa za1.d, p0, p1, z2, z3 */   \
    X("sme-f64f64", 's', 0x80c32041)   /* fmopa za1.d, p0, p1, z2, z3 */   \
    X("smei8i32", 's', 0xa1832041)     /* usmopa za1.s, p0, p1, z2, z3 */  \
    X("smef16f32", 's', 0x81a32041)    /* fmopa za1.s, p0, p1, z2.h, z3 */ \
    X("smeb16f32", 's', 0x81832041)    /* bfmopa za1.s, p0, p1, z2, z3 */  \
    X("smef32f32", 's', 0x80832051)    /* fmops za1.s, p0, p1, z2, z3 */   \
    X("sme-fa64", 's', 0x6e637c41)     /* uaba v1.8h, v2.8h, v3.8h */      \
    X("sme2", 's', 0xc0480001)         /* zero {zt0} */                    \
    X("smei16i32", 's', 0xa1832049)    /* umopa za1.s, p0, p1, z2, z3 */   \
    X("smebi32i32", 's', 0x80832049)   /* bmopa za1.s, p0, p1, z2, z3 */   \
    X("sme-b16b16", 's', 0x81a32049)   /* bfmopa za1.h, p0, p1, z2, z3 */  \
    X("sme-f16f16", 's', 0x81832049)   /* fmopa za1.h, p0, p1, z2, z3 */   \
    X("sme2p1", 's', 0xc0020200)       /* movaz z0.b, za0h.b[w12, 0] */    \
    X("sme-lutv2", 's', 0xc08b0080)    /* luti4 {z0-z3}, zt0, {z4-z5} */   \
    X("sme-f8f16", 's', 0x80a32049)    /* fmopa za1.h, p0, p1, z2.b, z3 */ \
    X("sme-f8f32", 's', 0x80a32041)    /* fmopa za1.s, p0, p1, z2.b, z3 */ \
    X("ssve-fp8fma", 's', 0x64a38841)  /* fmlalb z1.h, z2.b, z3.b */       \
    X("ssve-fp8dot4", 's', 0x64638441) /* fdot z1.s, z2.b, z3.b */         \
    X("ssve-fp8dot2", 's', 0x64238441) /* fdot z1.h, z2.b, z3.b */

/* Names as in the Arm ARM, CRm and op2 of op0 3, op1 0, CRn 0. */
#define REGISTERS(X)             \
    X("midr_el1", 0, 0)          \
    X("id_aa64pfr0_el1", 4, 0)   \
    X("id_aa64pfr1_el1", 4, 1)   \
    X("id_aa64pfr2_el1", 4, 2)   \
    X("id_aa64zfr0_el1", 4, 4)   \
    X("id_aa64smfr0_el1", 4, 5)  \
    X("id_aa64fpfr0_el1", 4, 7)  \
    X("id_aa64isar0_el1", 6, 0)  \
    X("id_aa64isar1_el1", 6, 1)  \
    X("id_aa64isar2_el1", 6, 2)  \
    X("id_aa64isar3_el1", 6, 3)  \
    X("id_aa64mmfr0_el1", 7, 0)  \
    X("id_aa64mmfr1_el1", 7, 1)  \
    X("id_aa64mmfr2_el1", 7, 2)  \
    X("id_aa64mmfr3_el1", 7, 3)
/* clang-format on */

enum { PROT_GUARDED = 0x10, PROT_TAGGED = 0x20 }; /* PROT_BTI and PROT_MTE of arm64's mman.h. */

#define AS_CODE(name, mode, word) ".inst " #word "\n    ret\n"
#define AS_MRS(name, crm, op2) ".inst 0xd5380000 | " #crm " << 8 | " #op2 " << 5\n    ret\n"
/* Global: the GOT entry of a local label would be its section's. */
__asm__(".globl case_code, mrs_code, smstart_code, ldar_code\n"
        ".text\n    .balign 8\n"
        "case_code:\n" CASES(AS_CODE) "mrs_code:\n" REGISTERS(
            AS_MRS) "smstart_code: .inst 0xd503477f\n    ret\n"
                    "ldar_code: .inst 0xc8dffc03\n    ret\n"); /* ldar x3, [x0] */
extern const char case_code[], mrs_code[], smstart_code[], ldar_code[];

static const struct {
    const char *name;
    char mode;
} cases[] = {
#define AS_ROW(name, mode, word) {name, mode},
    CASES(AS_ROW)};
static const char *const registers[] = {
#define AS_NAME(name, crm, op2) name,
    REGISTERS(AS_NAME)};

static sigjmp_buf out;
static char memory[256] __attribute__((aligned(64)));

static void
on_signal(int number)
{
    siglongjmp(out, number);
}

/* Calls `code` with x0; its x0 comes back in `result`. 0, or the signal it died of. */
static int
run(const void *code, const void *argument, int streaming, unsigned long *result)
{
    /* volatile: it is read after a longjmp. */
    volatile int number = sigsetjmp(out, 1);

    if (number)
        return number;
    register unsigned long x0 __asm__("x0") = (unsigned long)argument;
    register const void *target __asm__("x16") = code;
    register const void *start __asm__("x17") = streaming ? smstart_code : 0;
    __asm__ volatile("mov x1, #0\n mov x2, #0\n mov x3, #0\n mov x4, #0\n mov x5, #0\n"
                     "mov x12, #0\n"
                     "mov x19, x17\n"
                     "cbz x19, 1f\n"
                     "mov x20, x0\n blr x19\n mov x0, x20\n"
                     "1: blr x16\n"
                     "cbz x19, 2f\n"
                     ".inst 0xd503467f\n" /* smstop */
                     "2:"
                     : "+r"(x0), "+r"(target), "+r"(start)
                     :
                     : "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
                       "x19", "x20", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8",
                       "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19",
                       "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30",
                       "v31", "memory", "cc");
    if (result)
        *result = x0;
    return 0;
}

static const char *
word(int number)
{
    return number == 0         ? "ok"
           : number == SIGILL  ? "sigill"
           : number == SIGSEGV ? "sigsegv"
           : number == SIGBUS  ? "sigbus"
                               : "signal";
}

/* A signature that changes a pointer: with other modifiers one in 2^7 or less is all zeros. */
static int
signs(void)
{
    for (unsigned long modifier = 1; modifier <= 8; modifier++) {
        register unsigned long x3 __asm__("x3") = (unsigned long)memory;
        register unsigned long x4 __asm__("x4") = modifier * 0x9e3779b97f4a7c15;

        __asm__ volatile(".inst 0xdac10083" : "+r"(x3) : "r"(x4)); /* pacia x3, x4 */
        if (x3 != (unsigned long)memory)
            return 1;
    }
    return 0;
}

/* A guarded page lets no indirect call in that lands on no BTI. */
static int
guards(void)
{
    static const unsigned code[] = {0xd503201f, 0xd65f03c0}; /* nop; ret */
    void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return -1;
    memcpy(page, code, sizeof code);
    __builtin___clear_cache(page, (char *)page + sizeof code);
    if (mprotect(page, 4096, PROT_READ | PROT_EXEC | PROT_GUARDED))
        return 0;
    return run(page, memory, 0, 0) == SIGILL;
}

/* A load through a pointer with another tag than its memory's faults. */
static int
tags(void)
{
    static const unsigned code[] = {0xf9400003, 0xd65f03c0}; /* ldr x3, [x0]; ret */
    char *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC | PROT_TAGGED,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return 0;
    memcpy(page, code, sizeof code);
    __builtin___clear_cache(page, page + sizeof code);
    /* PR_SET_TAGGED_ADDR_CTRL: tagged addresses, synchronous faults, tags 1 to 15. */
    if (prctl(55, 1UL | 1UL << 1 | 0xfffeUL << 3, 0, 0, 0))
        return 0;
    return run(page, page + (5UL << 56), 0, 0) == SIGSEGV;
}

/* A bit of FPCR that stays set. */
static int
keeps(unsigned bit)
{
    unsigned long before, after;

    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | 1UL << bit));
    __asm__ volatile("mrs %0, fpcr" : "=r"(after));
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
    return (int)(after >> bit & 1);
}

/* The first line of /proc/cpuinfo that lists features. */
static void
print_listed(void)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[4096];

    printf("\"features\": \"");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "Features", 8)) {
            line[strcspn(line, "\n")] = 0;
            printf("%s", strchr(line, ':') ? strchr(line, ':') + 1 : "");
            break;
        }
    printf("\",\n");
}

int
main(void)
{
    static const int caught[] = {SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGFPE};
    const char *comma = "";
    struct sigaction action = {.sa_handler = on_signal};

    for (unsigned i = 0; i < sizeof caught / sizeof *caught; i++)
        sigaction(caught[i], &action, 0);
    printf("{\"auxv\": {\"hwcap\": %lu, \"hwcap2\": %lu, \"hwcap3\": %lu},\n\"runs\": {",
           getauxval(16), getauxval(26), getauxval(29));
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        printf("%s\"%s\": \"%s\"", i ? ", " : "", cases[i].name,
               word(run(case_code + 8 * i, memory, cases[i].mode == 's', 0)));
    /* An unaligned acquire inside 16 bytes. */
    printf(", \"lse2\": \"%s\"},\n", word(run(ldar_code, memory + 4, 0, 0)));
    printf("\"effects\": {\"pauth\": %d, \"bti\": %d, \"mte\": %d, \"afp\": %d, \"ebf16\": %d},\n",
           run(case_code, memory, 0, 0) == 0 && signs(), guards(), tags(), keeps(1), keeps(13));
    print_listed();
    printf("\"registers\": {");
    for (unsigned i = 0; i < sizeof registers / sizeof *registers; i++) {
        unsigned long value = 0;

        if (run(mrs_code + 8 * i, memory, 0, &value) == 0) {
            printf("%s\"%s\": %lu", comma, registers[i], value);
            comma = ", ";
        }
    }
    printf("}}\n");
    return 0;
}
