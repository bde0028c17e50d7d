/* What one instruction reads and writes, as far as it matters where values go: registers, memory,
 * an immediate. What forms have in common is a shape (tables.c). */
#ifndef CPUPROBE_OPERANDS_H
#define CPUPROBE_OPERANDS_H

#include "decode.h"

enum { MOST_OPERANDS = 5 };

/* What a form is, where it is not like any other. */
enum {
    IS_ASKING = 1, /* CPUID, XGETBV */
    IS_LEA = 2,
    IS_MOV = 4,
    IS_COPY = 8,        /* MOV, or one that extends: its first operand is not read */
    IS_CLEARING = 16,   /* XOR, SUB, PXOR: a register with itself is zero */
    IS_FLAGS_ONLY = 32, /* CMP and the like: its first operand is not written */
    IS_TEST = 64,       /* TEST, AND, BT */
    IS_ADD = 128,
    IS_MOVQ = 256,
    READS_FLAGS = 512,
    WRITES_FLAGS = 1024,
    NEVER_FAULTS = 2048, /* does something else where a feature is missing */
    IS_EXCHANGE = 4096,  /* XCHG */
    IS_DOUBLE = 8192,    /* with one operand or none: its result is in RAX and RDX */
    IS_SIGNED = 16384,   /* MOVSX, SAR: it keeps the sign */
};

/* What a form does with its operands, as far as that is followed (folds.c) or executed (operate.c).
 */
enum work {
    ELSE,
    ADDS,
    ORS,
    ADCS,
    SBBS,
    ANDS,
    SUBS,
    XORS,
    COMPARES,
    TESTS,
    NOTS,
    NEGS,
    SHIFTS_LEFT,
    SHIFTS_RIGHT,
    BIT_TESTS,
    SETS,
    MOVES_IF,
    COPIES,
    JUMPS, /* what follows is only executed */
    COUNTS_UP,
    COUNTS_DOWN,
    FILLS_LEFT, /* SHLD */
    FILLS_RIGHT,
    BIT_SETS,
    BIT_CLEARS,
    ROTATES_LEFT,
    ROTATES_RIGHT,
    MULTIPLIES, /* IMUL */
    WIDENS_TWO, /* CWDE, CDQE */
    WIDENS_FOUR,
    SPREADS_FOUR, /* CDQ, CQO */
    SPREADS_EIGHT,
    COMPARES_EXCHANGES,
    EXCHANGES_ADDS,
    TAKES_ADDRESS,
    EXCHANGES,
    PUSHES,
    POPS,
    LEAVES,
    VECTOR_COPIES,
    VECTOR_PARTS, /* MOVSS, MOVSD: of another vector the lowest part */
    VECTOR_XORS,
    VECTOR_JOINS, /* PUNPCKLQDQ, MOVHPS */
    IDLES,
};

/* Where an operand stands. */
enum operand {
    OPERAND_NONE,
    OPERAND_REG,    /* ModRM.reg */
    OPERAND_RM,     /* ModRM.rm: a register, or memory */
    OPERAND_VVVV,   /* VEX.vvvv */
    OPERAND_OPCODE, /* the opcode's low three bits */
    OPERAND_LAST,   /* bits 7:4 of the last byte */
    OPERAND_FIXED,  /* a register that the opcode implies */
    OPERAND_OFFSET, /* memory: an address behind the opcode */
    OPERAND_TARGET, /* near branch */
    OPERAND_IMM8,   /* not extended, as the others */
    OPERAND_SIGNED8,
    OPERAND_IMM16,
    OPERAND_IMM32,
    OPERAND_SIGNED32,
    OPERAND_IMM64,
    OPERAND_SHORT, /* an immediate that is none of these */
    OPERAND_OTHER,
};

/* Registers by number: general ones, then vector, mask, MMX, x87, segment, tile registers; what a
 * register is a part of has its number. */
enum {
    GENERAL = 0,
    VECTORS = 16,
    MASKS = 48,
    MMX = 56,
    X87 = 64,
    SEGMENTS = 72,
    TILES = 80,
    BOUNDS = 88,
    REGISTERS = 96,
    BYTES = 100, /* a base only: of 8 bits, four of which are bits 15:8 of others */
    NO_REGISTER = 255,
};
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9 };

struct shape {
    uint16_t traits;
    uint8_t work;
    uint8_t memory;           /* bytes of memory, if they are an integer; else 0 */
    uint8_t scale, broadcast; /* EVEX: what an 8-bit displacement is multiplied with, as a shift */
    uint8_t wide;             /* its first operand has 64 bits */
    uint8_t vectors;          /* VSIB: the index is a vector */
    struct {
        uint8_t where, base; /* enum operand; the register's number without ModRM's, or fixed */
        uint8_t size;        /* bytes, where there is work */
    } operands[MOST_OPERANDS];
};

extern const struct shape scan_shapes[];
/* Rows of shapes: the legacy ones, of 3DNow!, then of VEX, XOP and EVEX as in decode.h. */
enum { SHAPES_VEX = 65, SHAPES_XOP = SHAPES_VEX + 80, SHAPES_EVEX = SHAPES_XOP + 48 };
extern const uint8_t scan_shape_rows[];
extern const uint16_t scan_shape_leaves[];
extern const struct scan_entry scan_shape_entries[];

enum { OF_THREAD = 2 };

/* Where the parts of an instruction are. */
struct scan_found {
    const uint8_t *modrm;
    unsigned shape;
    uint8_t reg, rm, base, index; /* the bits above ModRM's and SIB's */
    uint8_t vvvv, high;
    uint8_t has_rex, narrow, broadcast, evex;
    uint8_t segment; /* one is named; OF_THREAD: FS */
};

/* As scan_decode_rest, for any instruction, with where its parts are. */
uint32_t scan_find(const uint8_t *code, unsigned *length, struct scan_found *found);

/* An instruction with its operands. */
struct operation {
    uint32_t offset; /* in its function */
    uint8_t length, class;
    uint16_t traits;
    uint8_t work, condition; /* the latter as opcodes have it */
    uint8_t count;           /* operands */
    uint8_t same;            /* the first two are one register */
    uint8_t where[MOST_OPERANDS];
    uint8_t registers[MOST_OPERANDS]; /* NO_REGISTER where it is none */
    uint8_t sizes[2], upper[2];       /* bytes of the first two, where there is work; AH and such */
    uint8_t has_memory, size;         /* of integers that it reads, else 0 */
    uint8_t base, index, scale;       /* of memory; a shift */
    uint8_t is_odd, is_static, absolute; /* as scan_found's segment; or of 32 bits */
    uint8_t framing, wide;               /* MOV RBP, RSP; its first operand has 64 bits */
    int64_t displacement;                /* of static memory, the address */
    uint64_t immediate; /* it has one at most; of a branch, the address it leads to */
};

/* The instruction at `code`, from where `available` bytes can be read; `address` is its own.
 * Returns its length. */
unsigned scan_operation(const uint8_t *code, size_t available, uint64_t address,
                        struct operation *made);

#endif
