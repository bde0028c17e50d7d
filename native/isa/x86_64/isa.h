/*
 * What the core has to know of x86-64: the register state of a candidate, what the CPU says of
 * itself, and where a signal frame keeps the program counter. A second instruction set brings its
 * own isa.h and the functions that core.h lists under "isa".
 */
#ifndef CPUPROBE_X86_64_H
#define CPUPROBE_X86_64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Registers that are loaded before a candidate and stored after it: each class adds to the last. */
enum state_class {
    STATE_GPR,    /* general registers and RFLAGS */
    STATE_SSE,    /* xmm0-7 and MXCSR */
    STATE_AVX,    /* ymm0-7 */
    STATE_AVX512, /* zmm0-7, k0-k7 (16 bits each, all that AVX512F can move) */
};

/* Checks beyond those of core.h. */
enum check_of_isa {
    CHECK_CPU = 16,    /* RDPID, RDTSCP: low 12 bits are the number of our CPU, or all is 0 */
    CHECK_FSBASE,      /* RAX equals what arch_prctl(ARCH_GET_FS) says */
    CHECK_GSBASE,      /* RAX equals what arch_prctl(ARCH_GET_GS) says */
    CHECK_SYSCALL,     /* RAX is 0 or an error number: the kernel has answered */
    CHECK_TRANSACTION, /* RTM: one of many attempts must commit; never ok from a lack of fault */
};

enum location {
    LOCATION_NONE,
    LOCATION_GPR,    /* index: register number in encoding order (rax, rcx, rdx, rbx, ...) */
    LOCATION_VECTOR, /* index: register number, 0 to 7 */
    LOCATION_MASK,   /* index: opmask register */
    LOCATION_FLAGS,  /* index: the RFLAGS bits that the manual defines after the instruction */
    LOCATION_MEMORY, /* index: byte offset into the output area */
};

/* A known machine state to start from. */
struct input {
    uint64_t gpr[16];
    uint64_t mask[8];
    const uint8_t *vector; /* 8 x 64 bytes */
    const uint8_t *memory; /* MEMORY_BYTES */
    bool varies;           /* has variants: see load_variant */
};

/* Offsets are known to the assembly in entry.c. */
struct machine_state {
    uint64_t gpr[16];      /* 0 */
    uint64_t rflags;       /* 128 */
    uint64_t mask[8];      /* 136 */
    uint32_t mxcsr;        /* 200 */
    uint8_t reserved[52];  /* 204 */
    uint8_t vector[8][64]; /* 256 */
};

#define FLAGS_AT_ENTRY 0x202u

/* RDRAND and RDSEED: CF is clear where the source has run dry. */
#define drew_nothing(state) (((state)->rflags & 1) == 0)

/* One CPUID result. */
struct cpuid_leaf {
    uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};

/* Registers by the number that profiles/features.toml's claims have: EAX, EBX, ECX, EDX. */
static inline uint32_t
register_of(const struct cpuid_leaf *leaf, uint32_t number)
{
    const uint32_t registers[] = {leaf->eax, leaf->ebx, leaf->ecx, leaf->edx};

    return registers[number];
}

/* Where CPUID enumerates a feature: by `width` bits from `bit` on, `least` or more. */
struct claim {
    uint32_t leaf;
    uint8_t subleaf, reg, bit;
    uint8_t width : 4, least : 4;
};

/* Does the leaf of a claim say that the feature is there? */
static inline bool
leaf_says(const struct cpuid_leaf *leaf, const struct claim *claim)
{
    uint32_t value = register_of(leaf, claim->reg) >> claim->bit;

    return (value & ((1u << claim->width) - 1)) >= claim->least;
}

#define MAXIMUM_LEAVES 256

/* What one CPU says of itself. */
struct identity {
    uint64_t xcr0;
    uint32_t leaf_count;
    uint8_t cpuid_outcome;
    uint8_t xgetbv_outcome; /* OUTCOME_SKIPPED where OSXSAVE is clear */
    uint8_t leaves_cut;
    uint8_t settled; /* by the parent: not to be read any more */
    struct cpuid_leaf leaves[MAXIMUM_LEAVES];
};

/* qemu-user 7.2 enters handlers with a stack that is not aligned. */
#define SIGNAL_HANDLER __attribute__((force_align_arg_pointer))

static inline void
move_bytes(void *to, const void *from, size_t length)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
}

static inline void
fill_bytes(void *to, int value, size_t length)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(length) : "a"(value) : "memory");
}

#define JUMP_BYTES 5 /* at most, from a candidate's end back to candidate_return */

#define ISA_JUDGES 1         /* has all that a verdict without Python takes */
#define FEATURE_LIST "flags" /* what /proc/cpuinfo calls it */
#define IDENTITY_IN_WORDS "CPUID and XCR0"

/* si_code of an undefined instruction: ILL_ILLOPN is what #UD gives. */
#define is_plain_code(code) ((code) == 2)

#define context_counter(context) ((const uint8_t *)(context)->uc_mcontext.rip)

/* Makes the interrupted code go on at `counter`. */
#define context_redirect(context, counter)                                                         \
    do {                                                                                           \
        (context)->uc_mcontext.rip = (unsigned long)(counter);                                     \
        /* TF would trap in the recovery path, AC would trap anywhere later. */                    \
        (context)->uc_mcontext.eflags = FLAGS_AT_ENTRY;                                            \
    } while (0)

#endif
