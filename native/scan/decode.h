/* One instruction of 64-bit code: how long it is, and to which class of forms it belongs. No text,
 * no operands, no allocation, nothing but tables (tables.c) and arithmetic.
 *
 * SDM vol. 2A, chapter 2 (prefixes, ModRM, VEX, EVEX); XOP: APM vol. 3, section 1.2.5; REX2 and
 * EVEX map 4: Intel 355828, chapter 3. Where bytes are no instruction it goes on behind as many as
 * iced-x86 takes for one. */
#ifndef CPUPROBE_DECODE_H
#define CPUPROBE_DECODE_H

#include <stddef.h>
#include <stdint.h>

/* How an instruction goes on. */
enum flow {
    FLOW_NEXT,
    FLOW_JCC,
    FLOW_JMP,
    FLOW_CALL,
    FLOW_INDIRECT_JMP,
    FLOW_INDIRECT_CALL,
    FLOW_RET,
    FLOW_INTERRUPT,
    FLOW_TRAP,
    FLOW_INVALID,
};

enum {
    CLASS_QUIET = 1,   /* every x86-64 CPU executes it, and it says nothing else either */
    CLASS_INVALID = 2, /* no instruction */
    CLASS_RARE = 4,    /* believed only where control flow leads to it */
    CLASS_DATA = 8,    /* a sign of data where nothing is known of the bytes around */
    CLASS_CPUID = 16,
    CLASS_XGETBV = 32,
    CLASS_END = 64,   /* never goes on at the next instruction */
    CLASS_NEAR = 128, /* may go on at a target in the code, which its last bytes name */
};

/* Forms that mean the same to a scan. */
struct instruction_class {
    uint8_t flags;
    uint8_t flow;
    uint8_t group;       /* the number of its set of needed features */
    uint8_t counted;     /* how many features it has */
    uint8_t features[3]; /* indices into scan_feature_names: those it needs, then unknown ones */
    uint64_t known[2];   /* those it needs, as bits */
};

/* An entry of a row, by opcode: where its leaves begin, and whether there is one for each place: of
 * ModRM, or of fields of EVEX. */
struct scan_entry {
    uint16_t leaves, split;
};

/* A leaf has the bytes behind the operands, whether there are operands in ModRM, what else must
 * hold, and the class. What is decoded has its whole length in place of the bytes behind. */
enum {
    LEAF_TAIL = 15,
    LEAF_LENGTH = 15,
    LEAF_NOTED = 16, /* it is loud, may not go on at the next instruction, or is CLASS_DATA */
    LEAF_LOUD = 32,  /* not CLASS_QUIET */
    LEAF_REST = 64,  /* not decoded in line: a prefix, another map, no instruction */
    LEAF_MODRM = 7 << 19,
};
#define LEAF_CHECK(leaf) ((leaf) >> 7 & 0xfff)
#define LEAF_CLASS(leaf) ((leaf) >> 22 & 0xff)
#define LEAF_OF_CLASS(kind) ((uint32_t)(kind) << 22)
/* Of CLASS_NEAR: how many bytes at its end are the distance. */
#define LEAF_DISTANCE(leaf) ((1u << ((leaf) >> 30)) >> 1)

/* What must hold. The first two are of legacy forms, the rest of those with VEX, XOP and EVEX. */
enum {
    LOCKABLE = 1,      /* LOCK may stand before it, if ModRM names memory */
    NO_REX_R = 2,      /* there are only eight such registers */
    VVVV_UNUSED = 1,   /* vvvv is 1111 */
    V_UNUSED = 2,      /* EVEX.V' is 1 */
    LOW_REG = 4,       /* ModRM.reg names one of eight: R, and R', are 1 */
    LOW_VVVV = 8,      /* so does vvvv */
    VSIB = 16,         /* there is a SIB byte */
    UNIQUE = 32,       /* reg, vvvv and the index are different registers; of AMX, rm */
    UNLIKE = 64,       /* reg is neither vvvv nor rm */
    NO_MASK = 128,     /* EVEX.aaa is 000 */
    MASK = 256,        /* EVEX.aaa is not 000 */
    NO_ZEROING = 512,  /* EVEX.z is 0 */
    LOW_RM = 1024,     /* ModRM.rm names one of eight */
    NARROW_REG = 2048, /* ModRM.reg names one of sixteen: EVEX.R' is 1 */
};

enum {
    LONGEST = 15,    /* bytes of an instruction */
    READ_AHEAD = 32, /* no decoding looks further */
    MOST_FEATURES = 160,
    MOST_KNOWN = 128,
};

/* tables.c; features with a row in the feature table come first. */
extern const unsigned scan_features, scan_known_features, scan_classes_number;
extern const char *const scan_feature_names[];
extern const struct instruction_class scan_classes[];
extern const uint8_t scan_apx_classes[]; /* by flow */
extern const uint32_t scan_leaves[];
extern const struct scan_entry scan_entries[];
/* Rows of entries. The first 64 are legacy: by map, F2, F3, 66, W. */
extern const uint8_t scan_now_rows[];
extern const uint8_t scan_vex_rows[], scan_xop_rows[]; /* by map, pp, W, L */
extern const uint8_t scan_evex_rows[];                 /* by map, pp, W */

/* What is looked up by one byte. Of ModRM: where in a split its leaf is (memory by reg, then all
 * registers), how long ModRM, SIB and displacement are, and how much longer if SIB names no base;
 * of SIB what is left of the latter (SDM vol. 2A, tables 2-2 and 2-3).
 *
 * What an instruction begins with, before its opcode, is one of 66, F2, F3, then REX, then 0F, of
 * which each may be there or not; or VEX. A head is of the first byte: which eight bits of the sum
 * of the second's and the third's count (a shift, the lowest five bits), and to what they are
 * added: to the number of a start. */
extern const struct scan_bytes {
    uint8_t places[256], lengths[256], baseless[256], names_none[256];
    uint32_t heads[256], seconds[256], thirds[256];
    struct start {
        uint8_t skip;   /* bits before the opcode */
        uint8_t length; /* bytes, with the opcode */
        uint8_t rest;   /* what of a leaf is not decoded in line here */
        uint32_t row;   /* where it begins in scan_entries */
    } starts[256];
} scan_bytes;
static inline unsigned
operand_length(unsigned modrm, unsigned sib)
{
    return scan_bytes.lengths[modrm] + (scan_bytes.baseless[modrm] & scan_bytes.names_none[sib]);
}

/* What is not decoded in line. */
uint32_t scan_decode_rest(const uint8_t *code, unsigned *length);

/* The leaf of the instruction at `code`, with its length, from where READ_AHEAD bytes can be read.
 * There is no branch but to what is not decoded in line. */
static inline __attribute__((always_inline)) uint32_t
decode(const uint8_t *code)
{
    const struct scan_bytes *bytes = &scan_bytes;
    uint64_t word;
    uint32_t head, more, leaf;
    struct scan_entry entry;
    struct start start;
    unsigned modrm;

    __builtin_memcpy(&word, code, sizeof word);
    head = bytes->heads[word & 0xff];
    more = (bytes->seconds[word >> 8 & 0xff] + bytes->thirds[word >> 16 & 0xff]) >> (head & 31);
    start = bytes->starts[(head >> 8) + (more & 0xff)];
    word >>= start.skip & 63;
    entry = scan_entries[start.row + (word & 0xff)];
    modrm = word >> 8 & 0xff;
    leaf = scan_leaves[entry.leaves + ((unsigned)entry.split & bytes->places[modrm])];
    if (__builtin_expect(leaf & start.rest, 0)) {
        unsigned length;

        leaf = scan_decode_rest(code, &length);
        return (leaf & ~(uint32_t)LEAF_LENGTH) | length;
    }
    return leaf + start.length + (leaf >> 19 & operand_length(modrm, word >> 16 & 0xff));
}

/* The same near the end of what can be read: an instruction that is cut off is none. */
uint32_t scan_decode_last(const uint8_t *code, size_t available);

/* The length and the class of each instruction, decoding straight on; returns how many there are.
 */
size_t scan_decode_all(const uint8_t *code, size_t size, uint8_t *lengths, uint8_t *kinds);

#endif
