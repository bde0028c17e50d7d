/* Executable bytes -> where the features stand that they need, function by function.
 *
 * The functions of a part of a file are decoded straight on, six at a time: their loads wait for
 * each other within a function, not between functions. Each hit and each turn is noted without a
 * branch. What is quiet there is done with. Else:
 *
 * 1. Does each hit follow the start or a branch's target? Asked where a function has few of a
 *    feature (`live`).
 * 2. Is it an instruction at all? Asked where the answer was no, where there is something rare or
 *    bytes that are no instruction: control flow is followed from the start (`walk`). What it does
 *    not reach counts only if it can be jumped to in a way that cannot be followed (a jump table, a
 *    landing pad) and decodes without anything odd.
 *
 * Bytes of no known function (`sweep`) count where many instructions in a row have nothing odd.
 * Nothing is allocated, and no byte outside of the code is read. */
#ifndef CPUPROBE_SCAN_H
#define CPUPROBE_SCAN_H

#include "decode.h"

enum {
    FEW = 6,              /* a function with as few of a feature may hold data */
    WALK_LIMIT = 1 << 20, /* bytes of a function beyond which nothing odd is believed in it */
    LARGE = 64,           /* bytes of a function from which it counts for the spread */
    SWEEP_RUN = 48,       /* instructions in a row that must have nothing odd */
    SWEEP_MARGIN = 12,    /* those next to something odd that are not believed */
    STREAMS = 6,          /* functions that are decoded at the same time */
    MOST_PLACES = 8,
    SOURCES = 4,
    NO_FUNCTION = 0, /* a source: the bytes belong to no known function */
};

/* Bytes that are swept at the same time as as many others. */
#ifndef SWEEP_LANE
#define SWEEP_LANE (1 << 14)
#endif

/* A function, or bytes that belong to none. */
struct scan_range {
    uint64_t start, end; /* addresses */
    uint32_t source;     /* how it is known: below SOURCES */
    uint32_t lsda;       /* it has landing pads: it can be entered unseen */
};

struct scan_place {
    uint64_t address; /* of the first instruction */
    uint32_t count, range;
};

/* One feature: how many instructions by source, in how many functions, the first of these. */
struct scan_use {
    uint64_t instructions[SOURCES];
    uint64_t functions;
    uint32_t places;
    struct scan_place place[MOST_PLACES];
};

/* A function that holds a sought feature: one of its features. `first` and `last` are of all the
 * sought ones. */
struct scan_listed {
    uint64_t first, last;
    uint32_t range, feature, count;
};

typedef uint64_t scan_mask[2]; /* of known features */

struct scan_tally {
    uint32_t base; /* added to the numbers of ranges: how many there are before these */
    struct scan_use uses[MOST_FEATURES];
    uint64_t discarded;         /* instructions that were not believed */
    uint64_t swept, unknown;    /* bytes of no known function: taken for code, and not */
    uint64_t steps;             /* about as many instructions were decoded */
    uint32_t signs;             /* CLASS_CPUID, CLASS_XGETBV */
    uint32_t listed, functions; /* how many are in the arrays below */
};

/* What a scan fills beside its tally. */
struct scan_output {
    scan_mask *pages;     /* for each 4 KiB page from that of the first byte on; of those written to
                           * that     hold ranges */
    scan_mask *functions; /* for each large function with a feature; as many as there are ranges */
    struct scan_listed *listed; /* as many as there are ranges, times MOST_FEATURES; may be NULL */
    scan_mask sought;
};

/* An instruction that is noted: the lowest bits of where it is in memory, and its leaf. */
struct scan_event {
    uint32_t at, leaf;
};

/* The same, of bytes of no known function: and its number among its lane's. */
struct scan_swept {
    uint32_t at, leaf, number;
};

/* The features of a page. */
struct scan_mark {
    uint64_t page;
    scan_mask known;
};

/* Working memory; it need not be cleared. */
struct scan_space {
    struct scan_event events[STREAMS][WALK_LIMIT + 1];
    uint32_t order[WALK_LIMIT + 1];
    uint32_t pending[WALK_LIMIT + 1];
    uint8_t lengths[WALK_LIMIT + 1];
    uint8_t kinds[WALK_LIMIT + 1];
    uint64_t targets[WALK_LIMIT / 64 + 1];
    struct scan_swept swept[STREAMS][SWEEP_LANE + 1];
    struct scan_mark marks[WALK_LIMIT / 4096 + 2];
};

/* Scans some ranges of executable bytes; what it finds is added to the tally and the output.
 * Ranges that are empty or reach outside of the code are left out. */
void cpuprobe_scan(const uint8_t *code, uint64_t size, uint64_t address,
                   const struct scan_range *ranges, uint32_t count, struct scan_tally *tally,
                   const struct scan_output *output, struct scan_space *space);

/* Adds what another scan found in other ranges; but for `listed` and `functions`, whose arrays are
 * apart. */
void cpuprobe_join(struct scan_tally *tally, const struct scan_tally *other);

/* Adds the features of pages, so many of either. */
void cpuprobe_join_pages(scan_mask *pages, const scan_mask *other, uint64_t count);

#endif
