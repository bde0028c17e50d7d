/*
 * What the core has to know of aarch64: the register state of a candidate, what the CPU says of
 * itself, and where a signal frame keeps the program counter.
 */
#ifndef CPUPROBE_AARCH64_H
#define CPUPROBE_AARCH64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Registers that are loaded before a candidate and stored after it. */
enum state_class {
    STATE_GPR, /* x0-x15 and NZCV */
    STATE_FP,  /* and v0-v7, FPCR, FPSR */
    STATE_SVE, /* and z0-z7, p0-p3, as long as they are here */
    STATE_SME, /* the same in streaming mode, with ZA on */
};

/* Checks beyond those of core.h. */
enum check_of_isa {
    CHECK_SIGNED = 16, /* the upper half of x0 depends on x1, the lower half is the expected one */
    CHECK_WIDE,        /* by value, where vectors have 32 bytes or more; undefined elsewhere */
    CHECK_STREAMING,   /* by value; proves nothing where streaming mode has all of A64 */
};

enum location {
    LOCATION_NONE,
    LOCATION_GPR,       /* index: register number, 0 to 15 */
    LOCATION_VECTOR,    /* index: register number, 0 to 7 */
    LOCATION_PREDICATE, /* index: register number, 0 to 3 */
    LOCATION_FLAGS,     /* index: the bits of N, Z, C, V (8, 4, 2, 1) that are compared */
    LOCATION_MEMORY,    /* index: byte offset into the output area */
};

/* A known machine state to start from. What is longer than given here repeats it. */
struct input {
    uint64_t gpr[16];
    uint64_t predicate[4];
    const uint8_t *vector; /* 8 x 64 bytes */
    const uint8_t *memory; /* MEMORY_BYTES */
    bool varies;           /* has variants: see load_variant */
};

#define INPUT_AREA_REGISTER 10
#define OUTPUT_AREA_REGISTER 11
#define VECTOR_BYTES 256 /* the longest that the architecture allows */

/* Offsets are known to the assembly in entry.c. */
struct machine_state {
    uint64_t gpr[16];                /* 0 */
    uint64_t nzcv;                   /* 128 */
    uint64_t fpcr, fpsr;             /* 136 */
    uint64_t reserved;               /* 152 */
    uint8_t predicate[4][32];        /* 160 */
    uint8_t padding[224];            /* 288 */
    uint8_t vector[8][VECTOR_BYTES]; /* 512 */
};

/* RNDR and RNDRRS: Z is set where the source has run dry. */
#define drew_nothing(state) (((state)->nzcv >> 30 & 1) != 0)

/* Registers that MRS reads, in the kernel's stead where it emulates that (Linux 4.11,
 * Documentation/ arch/arm64/cpu-feature-registers.rst): name, CRm, op2; op0 is 3, op1 and CRn are
 * 0. */
#define EACH_ID_REGISTER(row)                                                                      \
    row(midr_el1, 0, 0) row(revidr_el1, 0, 6) row(id_aa64pfr0_el1, 4, 0)                           \
        row(id_aa64pfr1_el1, 4, 1) row(id_aa64pfr2_el1, 4, 2) row(id_aa64zfr0_el1, 4, 4)           \
            row(id_aa64smfr0_el1, 4, 5) row(id_aa64fpfr0_el1, 4, 7) row(id_aa64isar0_el1, 6, 0)    \
                row(id_aa64isar1_el1, 6, 1) row(id_aa64isar2_el1, 6, 2)                            \
                    row(id_aa64isar3_el1, 6, 3) row(id_aa64mmfr0_el1, 7, 0)                        \
                        row(id_aa64mmfr1_el1, 7, 1) row(id_aa64mmfr2_el1, 7, 2)                    \
                            row(id_aa64mmfr3_el1, 7, 3) row(id_aa64mmfr4_el1, 7, 4)

enum id_register {
#define CONSTANT(name, crm, op2) ID_##name,
    EACH_ID_REGISTER(CONSTANT)
#undef CONSTANT
        ID_REGISTERS,
};

/* What one CPU says of itself. */
struct identity {
    uint64_t value[ID_REGISTERS];
    uint32_t read;   /* which of them MRS gave (bits) */
    uint8_t outcome; /* of MRS: OUTCOME_OK if it gave any */
    uint8_t settled; /* by the parent: not to be read any more */
};

#define SIGNAL_HANDLER
#define JUMP_BYTES 4 /* from a candidate's end back to candidate_return */

static inline void
move_bytes(void *to, const void *from, size_t length)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    uint64_t word;

    __asm__ volatile("1: subs %[length], %[length], #8\n"
                     "b.lo 2f\n"
                     "ldr %[word], [%[in]], #8\n"
                     "str %[word], [%[out]], #8\n"
                     "b 1b\n"
                     "2: adds %[length], %[length], #8\n"
                     "b.eq 4f\n"
                     "3: ldrb %w[word], [%[in]], #1\n"
                     "strb %w[word], [%[out]], #1\n"
                     "subs %[length], %[length], #1\n"
                     "b.ne 3b\n"
                     "4:\n"
                     : [length] "+r"(length), [in] "+r"(in), [out] "+r"(out), [word] "=&r"(word)
                     :
                     : "memory", "cc");
}

static inline void
fill_bytes(void *to, int value, size_t length)
{
    uint8_t *out = to;
    uint64_t word = (uint8_t)value * 0x0101010101010101u;

    __asm__ volatile("1: subs %[length], %[length], #8\n"
                     "b.lo 2f\n"
                     "str %[word], [%[out]], #8\n"
                     "b 1b\n"
                     "2: adds %[length], %[length], #8\n"
                     "b.eq 4f\n"
                     "3: strb %w[word], [%[out]], #1\n"
                     "subs %[length], %[length], #1\n"
                     "b.ne 3b\n"
                     "4:\n"
                     : [length] "+r"(length), [out] "+r"(out)
                     : [word] "r"(word)
                     : "memory", "cc");
}

#define ISA_JUDGES 0            /* no verdict without Python yet */
#define FEATURE_LIST "Features" /* what /proc/cpuinfo calls it */
#define IDENTITY_IN_WORDS "the ID registers"

/* si_code of an undefined instruction: ILL_ILLOPC is Linux's (arch/arm64/kernel/traps.c),
 * ILL_ILLOPN that of QEMU's user emulation. */
#define is_plain_code(code) ((code) == 1 || (code) == 2)

#define context_counter(context) ((const uint8_t *)(context)->uc_mcontext.pc)

/* Makes the interrupted code go on at `counter`, with no flag, mode or kind of branch set. */
#define context_redirect(context, counter)                                                         \
    do {                                                                                           \
        (context)->uc_mcontext.pc = (unsigned long)(counter);                                      \
        (context)->uc_mcontext.pstate = 0;                                                         \
    } while (0)

#endif
