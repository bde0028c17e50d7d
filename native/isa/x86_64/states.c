/*
 * From the witnesses' words on one part of the machine to the state of every feature, by the rules
 * of cpuprobe/assessment/witnesses.py.
 */
#include "evidence.h"

#define AVX_STATE 0x6u
#define ZMM_STATE 0xe0u

static enum answer
runs(const struct tally *tally, unsigned int feature)
{
    if (has_feature(&tally->failed, feature))
        return NO;
    return has_feature(&tally->ran, feature) ? YES : SILENT;
}

/* The order of the questions is the argument. */
static enum state
state_of(const struct evidence *evidence, unsigned int feature)
{
    enum answer ran = runs(&evidence->now, feature), cpuid = answer_of(&evidence->cpuid, feature),
                os = answer_of(&evidence->os, feature),
                kernel = answer_of(&evidence->kernel, feature),
                claimed = cpuid == SILENT ? kernel : cpuid;

    if (cpuid == NO)
        return ran == YES ? STATE_OF_HIDDEN : STATE_OF_ABSENT;
    if (claimed != YES) { /* CPUID is mute, and the kernel denies it or is mute too */
        if (ran == NO)
            return STATE_OF_ABSENT;
        if (ran == SILENT && evidence->avx_off && feature == FEATURE_AVX)
            return STATE_OF_WITHHELD;
        if (ran == SILENT)
            return claimed == NO || os == NO ? STATE_OF_ABSENT : STATE_OF_UNKNOWN;
    }
    if (os == NO)
        return STATE_OF_WITHHELD;
    if (feature_rows[feature].encoding == ENCODING_AMX && runs(&evidence->before, feature) != YES)
        return has_feature(&evidence->before.tried, feature) && ran == NO ? STATE_OF_BROKEN
                                                                          : STATE_OF_GATED;
    if (ran == NO)
        return STATE_OF_BROKEN;
    if (kernel == NO)
        return STATE_OF_WITHHELD;
    return ran == YES ? STATE_OF_USABLE : STATE_OF_UNVERIFIED;
}

/* What the detector sees of a part; where nothing was executed, doubts count for the feature. */
static void
ask_detector(const struct judged_machine *machine, const struct evidence *evidence,
             struct feature_bits *detected)
{
    bool measured = machine->options->execute;
    struct feature_bits claimed = evidence->cpuid.yes;
    struct seen_state seen = {.xcr0 = evidence->xcr0_known ? evidence->xcr0 : 0};

    if (measured)
        seen.saved = has_feature(&claimed, FEATURE_XSAVE) && evidence->osxsave == YES;
    else {
        for (unsigned int i = 0; i < FEATURE_COUNT; i++)
            if (answer_of(&evidence->cpuid, i) == SILENT && answer_of(&evidence->kernel, i) == YES)
                add_feature(&claimed, i);
        seen.saved = answer_of(&evidence->cpuid, FEATURE_XSAVE) != NO &&
                     (answer_of(&evidence->cpuid, FEATURE_XSAVE) == YES ||
                      answer_of(&evidence->kernel, FEATURE_XSAVE) != NO) &&
                     evidence->osxsave != NO;
    }
    seen.ymm = seen.saved && (seen.xcr0 & AVX_STATE) == AVX_STATE;
    seen.zmm = seen.ymm && (seen.xcr0 & ZMM_STATE) == ZMM_STATE;
    if (!measured && !evidence->xcr0_known) {
        seen.ymm = seen.saved && answer_of(&evidence->os, FEATURE_AVX) != NO;
        seen.zmm = seen.ymm && answer_of(&evidence->os, FEATURE_AVX512F) != NO;
    }
    detect(machine, &claimed, &seen, detected);
}

/* Is something claimed that was taken away, or does not run rightly? Each is an error among the
 * findings of cpuprobe/assessment. */
static bool
is_wanting(const struct judged_machine *machine, const struct evidence *evidence,
           unsigned int feature, enum state state)
{
    enum answer cpuid = answer_of(&evidence->cpuid, feature),
                os = answer_of(&evidence->os, feature),
                kernel = answer_of(&evidence->kernel, feature);
    uint8_t gate = feature_rows[feature].gate;
    /* Only of Linux is it known that it promises what has a gate in CR4. */
    bool promised =
        (gate != GATE_OSPKE && gate != GATE_FSGSBASE) || machine->kernel->release_text[0] != '\0';

    if (os == NO && (cpuid == SILENT ? kernel : cpuid) == YES && promised &&
        !evidence->told_elsewhere)
        return true;
    if (os != NO && cpuid == YES && kernel == NO)
        return true;
    if (evidence->listed_without_xsave && kernel == YES && feature_xcr0(feature) != 0)
        return true;
    return state == STATE_OF_BROKEN;
}

/* The opinion on a part of the machine. */
void
judge_part(const struct judged_machine *machine, const struct part *part, struct opinion *opinion)
{
    struct evidence evidence;

    gather_evidence(machine, part, &evidence);
    opinion->wanting = opinion->gated_off = (struct feature_bits){0};
    opinion->wrong = opinion->ran = (struct feature_bits){0};
    for (unsigned int i = 0; i < FEATURE_COUNT; i++) {
        enum state state = state_of(&evidence, i);

        opinion->state[i] = (uint8_t)state;
        if (runs(&evidence.now, i) != SILENT)
            add_feature(&opinion->ran, i);
        if (is_wanting(machine, &evidence, i, state)) {
            add_feature(&opinion->wanting, i);
            if (answer_of(&evidence.os, i) == NO)
                add_feature(&opinion->gated_off, i);
        }
        if (has_feature(&evidence.now.failed, i) && !has_feature(&evidence.now.faulted, i))
            add_feature(&opinion->wrong, i);
    }
    ask_detector(machine, &evidence, &opinion->detected);
    opinion->claimed = evidence.cpuid.yes;
    opinion->xcr0_known = evidence.xcr0_known;
    opinion->avx_off = answer_of(&evidence.os, FEATURE_AVX) == NO;
}
