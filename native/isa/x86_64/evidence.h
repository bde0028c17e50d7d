/*
 * What the witnesses say of every feature on one part of the machine: evidence.c asks them,
 * states.c says what follows.
 */
#ifndef CPUPROBE_EVIDENCE_H
#define CPUPROBE_EVIDENCE_H

#include "../../verdict.h"

#define YMM_STATE (1u << 2) /* XCR0, the upper halves of YMM: what the GDS mitigation clears */

extern const struct claim claims[FEATURE_COUNT];

/* Yes, no, or neither. */
enum answer { SILENT, YES, NO };

/* What was said of all features. */
struct answers {
    struct feature_bits yes, no;
};

/* What the candidates showed. */
struct tally {
    struct feature_bits ran;     /* some candidate did, with the right result */
    struct feature_bits failed;  /* some candidate speaks against it */
    struct feature_bits faulted; /* and not by its result alone */
    struct feature_bits tried;   /* anything is known of it */
};

struct evidence {
    struct answers cpuid, os, kernel;
    struct tally now, before; /* with every permission that is to be had, and without */
    enum answer osxsave;
    bool xcr0_known, avx_off, listed_without_xsave;
    bool told_elsewhere; /* why register state is off: there is no CPUID here, but other words */
    uint64_t xcr0;
};

static inline enum answer
answer_of(const struct answers *answers, unsigned int feature)
{
    if (has_feature(&answers->yes, feature))
        return YES;
    return has_feature(&answers->no, feature) ? NO : SILENT;
}

void gather_evidence(const struct judged_machine *machine, const struct part *part,
                     struct evidence *evidence);

#endif
