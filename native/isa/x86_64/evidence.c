/*
 * What the four witnesses say of every feature on one part of the machine, and the state that
 * follows: cpuid, os, kernel, ran. cpuprobe/assessment/witnesses.py holds the essay; this is the
 * same argument over what was measured here.
 */
#include "evidence.h"

#define OSXSAVE 27         /* CPUID.01H:ECX */
#define OSPKE 4            /* CPUID.07H:ECX */
#define HWCAP2_FSGSBASE 2u /* Linux arch/x86/include/uapi/asm/hwcap2.h, bit 1 */
#define LONGEST_RANGE 0xffffu
enum { EAX, EBX, ECX, EDX };

const struct feature_row feature_rows[FEATURE_COUNT] = {
#define ROW(constant, name, place, encoding, gate, closure, flag, since, privileged, hint)         \
    {name, flag, closure, since, place, encoding, gate, privileged, hint},
    EACH_FEATURE(ROW)
#undef ROW
};

uint32_t
feature_xcr0(unsigned int feature)
{
    static const uint32_t masks[] = {
#define ROW(constant, xcr0) xcr0,
        EACH_ENCODING(ROW)
#undef ROW
    };

    return masks[feature_rows[feature].encoding];
}

const struct claim claims[FEATURE_COUNT] = {
#define CLAIM(name, leaf, subleaf, reg, bit, width, least) {leaf, subleaf, reg, bit, width, least},
#include "candidates/claims.h"
#undef CLAIM
};

static void
note(struct answers *answers, unsigned int feature, enum answer answer)
{
    if (answer == YES)
        add_feature(&answers->yes, feature);
    else if (answer == NO)
        add_feature(&answers->no, feature);
}

/* The kernel's own number of a feature, 32 * word + bit, or -1: words 0, 4, 9 and 16 are 1:EDX,
 * 1:ECX, 7:EBX and 7:ECX (Linux arch/x86/include/asm/cpufeatures.h). */
int
kernel_feature_number(unsigned int feature)
{
    const struct claim *claim = &claims[feature];
    int word = -1;

    if (claim->subleaf == 0 && claim->leaf == 0x1)
        word = claim->reg == EDX ? 0 : claim->reg == ECX ? 4 : -1;
    else if (claim->subleaf == 0 && claim->leaf == 0x7)
        word = claim->reg == EBX ? 9 : claim->reg == ECX ? 16 : -1;
    return word < 0 ? -1 : 32 * word + claim->bit;
}

/* --- cpuid -------------------------------------------------------------------------------- */

/* Leaves whose subleaf 0 gives the highest valid subleaf in EAX. */
static bool
tells_last_subleaf(uint32_t leaf)
{
    return leaf == 0x7 || leaf == 0x14 || leaf == 0x17 || leaf == 0x18 || leaf == 0x1d ||
           leaf == 0x1e || leaf == 0x20 || leaf == 0x24;
}

/* Does the CPU have this leaf and subleaf? SILENT where the record cannot tell. */
static enum answer
covers(const struct identity *identity, uint32_t leaf, uint32_t subleaf)
{
    uint32_t base = leaf >= 0xc0000000 ? 0xc0000000 : leaf >= 0x80000000 ? 0x80000000 : 0;
    const struct cpuid_leaf *first = find_leaf(identity, base, 0), *zero;

    if (first == NULL)
        return find_leaf(identity, leaf, subleaf) != NULL ? YES : SILENT;
    if (base != 0 && (first->eax < base || first->eax - base > LONGEST_RANGE))
        return NO;
    if (leaf > first->eax)
        return NO;
    if (subleaf == 0 || !tells_last_subleaf(leaf))
        return YES;
    zero = find_leaf(identity, leaf, 0);
    if (zero == NULL)
        return SILENT;
    return subleaf > zero->eax ? NO : YES;
}

static enum answer read_bit(const struct identity *identity, const struct claim *claim);

/* Is the leaf one that a bit elsewhere announces, and the bit is clear? Then it holds nothing. */
static bool
is_unannounced(const struct identity *identity, uint32_t leaf)
{
    static const struct {
        uint32_t leaf;
        struct claim by;
    } rows[] = {
        {0xd, {0x1, 0, ECX, 26, 1, 1}},  /* XSAVE */
        {0x14, {0x7, 0, EBX, 25, 1, 1}}, /* Processor Trace */
        {0x19, {0x7, 0, ECX, 23, 1, 1}}, /* Key Locker */
        {0x1e, {0x7, 0, EDX, 24, 1, 1}}, /* AMX-TILE */
        {0x24, {0x7, 1, EDX, 19, 1, 1}}, /* AVX10 */
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].leaf == leaf)
            return read_bit(identity, &rows[i].by) == NO;
    return false;
}

static enum answer
read_bit(const struct identity *identity, const struct claim *claim)
{
    enum answer covered = covers(identity, claim->leaf, claim->subleaf);
    const struct cpuid_leaf *leaf;

    if (covered != YES)
        return covered;
    leaf = find_leaf(identity, claim->leaf, claim->subleaf);
    if (leaf == NULL)
        return is_unannounced(identity, claim->leaf) ? NO : SILENT;
    return leaf_says(leaf, claim) ? YES : NO;
}

/* --- os ----------------------------------------------------------------------------------- */

/* Where XCR0 is not known, the size of the XSAVE area still tells when a component is off (SDM
 * vol. 1, 13.2). */
static bool
component_off(const struct identity *identity, uint32_t component)
{
    const struct cpuid_leaf *all = find_leaf(identity, 0xd, 0),
                            *one = find_leaf(identity, 0xd, component);

    return all != NULL && one != NULL && covers(identity, 0xd, 0) == YES && one->eax != 0 &&
           all->ebx < one->eax + one->ebx;
}

/* Is some register state that the feature needs known to be off? */
static bool
lacks_state(const struct evidence *evidence, const struct identity *identity, uint64_t mask)
{
    if (evidence->osxsave == NO)
        return true;
    if (evidence->xcr0_known)
        return (mask & ~evidence->xcr0) != 0;
    if (evidence->avx_off && mask & YMM_STATE)
        return true;
    for (uint32_t component = 2; component < 64; component++)
        if (mask >> component & 1 && component_off(identity, component))
            return true;
    return false;
}

static enum answer
os_enabled(const struct evidence *evidence, const struct judged_machine *machine,
           const struct identity *identity, unsigned int feature)
{
    static const struct claim ospke = {0x7, 0, ECX, OSPKE, 1, 1};

    switch (feature_rows[feature].gate) {
    case GATE_OSXSAVE:
        return evidence->osxsave;
    case GATE_OSPKE:
        return read_bit(identity, &ospke);
    case GATE_FSGSBASE:
        if (!machine->options->told[AUXILIARY_HWCAP2])
            return SILENT;
        return machine->options->auxiliary[AUXILIARY_HWCAP2] & HWCAP2_FSGSBASE ? YES : NO;
    default:
        if (feature_xcr0(feature) == 0)
            return YES;
        if (lacks_state(evidence, identity, feature_xcr0(feature)))
            return NO;
        return evidence->xcr0_known ? YES : SILENT;
    }
}

/* --- kernel ------------------------------------------------------------------------------- */

/* A missing name says no only of a release that is known to print it, and only of a feature that
 * programs can use. */
static enum answer
kernel_lists(const struct judged_machine *machine, uint32_t blocks, unsigned int feature)
{
    static const struct release never = {{0, 0, 0}};
    const struct feature_row *row = &feature_rows[feature];
    bool silent = false;

    if (row->flag == NULL || machine->set_aside || blocks == 0)
        return SILENT;
    for (uint32_t i = 0; i < machine->kernel->listing_count; i++)
        if (blocks >> i & 1 && !has_feature(&machine->kernel->listings[i].listed, feature))
            silent = true;
    if (!silent)
        return YES;
    if (row->privileged || compare_releases(&row->since, &never) == 0 ||
        compare_releases(&machine->release, &row->since) < 0)
        return SILENT;
    return NO;
}

/* --- ran ---------------------------------------------------------------------------------- */

static unsigned int
count_features(const struct feature_bits *bits)
{
    unsigned int count = 0;

    for (unsigned int i = 0; i < FEATURE_WORDS; i++)
        for (uint64_t word = bits->word[i]; word != 0; word &= word - 1)
            count++;
    return count;
}

/* `a` without `b`. */
static struct feature_bits
without(const struct feature_bits *a, const struct feature_bits *b)
{
    struct feature_bits left = *a;

    for (unsigned int i = 0; i < FEATURE_WORDS; i++)
        left.word[i] &= ~b->word[i];
    return left;
}

static const struct feature_bits *
features_of(const struct candidate_table *table, uint32_t candidate)
{
    return &table->sets[table->candidates[candidate].set].features;
}

/*
 * Those of a failing candidate's features that it speaks against: one that is not claimed and
 * enabled, if it is the only one; else those that no other candidate has shown to run; where each
 * runs elsewhere, those that no other of them builds on.
 */
static struct feature_bits
blamed(const struct feature_bits *features, const struct feature_bits *eligible,
       const struct feature_bits *shown)
{
    static const struct feature_bits nobody = {{0}};
    struct feature_bits missing = without(features, eligible), rest, below = nobody;

    if (count_features(features) == 1)
        return *features;
    if (count_features(&missing) > 0)
        return count_features(&missing) == 1 ? missing : nobody;
    rest = without(features, shown);
    if (count_features(&rest) > 0)
        return rest;
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (has_feature(features, i))
            unite_features(&below, &feature_rows[i].closure);
    return without(features, &below);
}

/* What the candidates' outcomes say. What was not run is left out. */
static void
weigh(const struct candidate_table *table, const uint8_t *outcomes,
      const struct feature_bits *eligible, struct tally *tally)
{
    for (uint32_t i = 0; i < table->count; i++) {
        enum outcome outcome = known_outcome(outcomes[i]);

        if (outcome == OUTCOME_OK)
            unite_features(&tally->ran, features_of(table, i));
        if (outcome == OUTCOME_OK || outcome == OUTCOME_SKIPPED)
            unite_features(&tally->tried, features_of(table, i));
    }
    for (uint32_t i = 0; i < table->count; i++) {
        enum outcome outcome = known_outcome(outcomes[i]);
        struct feature_bits against;

        if (outcome == OUTCOME_OK || outcome == OUTCOME_SKIPPED || outcome == OUTCOME_NOT_RUN)
            continue;
        against = blamed(features_of(table, i), eligible, &tally->ran);
        unite_features(&tally->failed, &against);
        if (outcome != OUTCOME_WRONG)
            unite_features(&tally->faulted, &against);
    }
    unite_features(&tally->tried, &tally->failed);
}

static void
ask_candidates(const struct judged_machine *machine, const struct cpu_record *record,
               struct evidence *evidence)
{
    struct feature_bits eligible = {{0}};

    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (answer_of(&evidence->cpuid, i) != NO && answer_of(&evidence->os, i) != NO)
            add_feature(&eligible, i);
    weigh(machine->table, record->outcome, &eligible, &evidence->now);
    weigh(machine->table, record->outcome_before, &eligible, &evidence->before);
}

/* Asks all witnesses on every feature. */
void
gather_evidence(const struct judged_machine *machine, const struct part *part,
                struct evidence *evidence)
{
    static const struct claim osxsave = {0x1, 0, ECX, OSXSAVE, 1, 1};
    const struct identity *identity = &part->record->identity;

    *evidence = (struct evidence){.xcr0_known = identity->xgetbv_outcome == OUTCOME_OK,
                                  .xcr0 = identity->xcr0};
    evidence->avx_off =
        machine->avx_disabled && !(evidence->xcr0_known && evidence->xcr0 & YMM_STATE);
    evidence->osxsave = read_bit(identity, &osxsave);
    for (unsigned int i = 0; i < FEATURE_COUNT; i++) {
        note(&evidence->cpuid, i, read_bit(identity, &claims[i]));
        note(&evidence->kernel, i, kernel_lists(machine, part->blocks, i));
    }
    evidence->listed_without_xsave =
        evidence->osxsave == SILENT && answer_of(&evidence->kernel, FEATURE_XSAVE) == NO;
    evidence->told_elsewhere =
        evidence->listed_without_xsave || (evidence->avx_off && identity->leaf_count == 0);
    if (evidence->listed_without_xsave)
        evidence->osxsave = NO;
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        note(&evidence->os, i, os_enabled(evidence, machine, identity, i));
    if (machine->options->execute)
        ask_candidates(machine, part->record, evidence);
}
