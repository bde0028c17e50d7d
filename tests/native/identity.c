/*
 * Which CPUID leaves cpuid.c reads, on CPUs that are made up here.
 *
 * cpuid.c is compiled into this file with its two guarded instructions replaced. A question that
 * no row of the fake CPU answers is noted in `unexpected`: reading zeros instead would hide it.
 */
#define guard_cpuid fake_cpuid
#define guard_xgetbv fake_xgetbv
#define read_identity read_fake_identity
#include "../../native/isa/x86_64/cpuid.c"
#undef guard_cpuid
#undef guard_xgetbv
#undef read_identity

#include "test.h"

#include <string.h>

#define ANY 0xffffffffu /* as subleaf: every one */

static const struct cpuid_leaf *rows;
static size_t row_count;
static enum outcome cpuid_answer, xgetbv_answer;
static uint32_t unexpected, questions, xgetbv_questions;

/* No hypervisor, no extended leaves: what an Intel CPU answers there is its last basic leaf. */
#define NO_OTHER_RANGES                                                                            \
    {0x40000000, 0, 7, 0, 0, 0}, {0x80000000, 0, 7, 0, 0, 0}, {0x80860000, 0, 7, 0, 0, 0},         \
    {                                                                                              \
        0xc0000000, 0, 7, 0, 0, 0                                                                  \
    }

enum outcome
fake_cpuid(struct guard *guard, uint32_t leaf, uint32_t subleaf, struct cpuid_leaf *out)
{
    (void)guard;
    questions++;
    *out = (struct cpuid_leaf){.leaf = leaf, .subleaf = subleaf};
    if (cpuid_answer != OUTCOME_OK)
        return cpuid_answer;
    for (size_t i = 0; i < row_count; i++)
        if (rows[i].leaf == leaf && (rows[i].subleaf == subleaf || rows[i].subleaf == ANY)) {
            *out = rows[i];
            out->subleaf = subleaf;
            return OUTCOME_OK;
        }
    unexpected++;
    return OUTCOME_OK;
}

enum outcome
fake_xgetbv(struct guard *guard, uint32_t index, uint64_t *value)
{
    (void)guard;
    xgetbv_questions++;
    *value = xgetbv_answer == OUTCOME_OK && index == 0 ? 0xe7 : 0;
    return xgetbv_answer;
}

static struct {
    struct identity identity;
    struct cpuid_leaf after; /* what a leaf too many would overwrite */
} guarded;

static struct identity *
read_cpu(const struct cpuid_leaf *cpu, size_t count)
{
    memset(&guarded, 0, sizeof guarded);
    rows = cpu;
    row_count = count;
    unexpected = questions = xgetbv_questions = 0;
    cpuid_answer = xgetbv_answer = OUTCOME_OK;
    read_fake_identity(NULL, &guarded.identity);
    return &guarded.identity;
}

#define READ(cpu) read_cpu(cpu, sizeof cpu / sizeof *cpu)

static bool
kept(const struct identity *record, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < record->leaf_count; i++)
        if (record->leaves[i].leaf == leaf && record->leaves[i].subleaf == subleaf)
            return true;
    return false;
}

void
leaves_end_at_the_maximum(void)
{
    /* Maximum 2: leaf 7 is not there, and answering it would be "unexpected". */
    static const struct cpuid_leaf cpu[] = {
        {0, 0, 2, 1, 2, 3}, {1, 0, 0x6d0, 0, 0, 0}, {2, 0, 1, 0, 0, 0}, NO_OTHER_RANGES};
    const struct identity *record = READ(cpu);

    CHECK(unexpected == 0);
    CHECK(record->leaf_count == 3);
    CHECK(kept(record, 2, 0));
    CHECK(!kept(record, 7, 0));
}

void
serial_number_is_never_read(void)
{
    /* Row 3 is missing: asking for it would show. */
    static const struct cpuid_leaf cpu[] = {
        {0, 0, 4, 1, 2, 3}, {1, 0, 0, 0, 0, 0},          {2, 0, 1, 0, 0, 0},
        {4, 0, 0x21, 0, 0, 0}, {4, 1, 0x40, 0, 0, 0}, NO_OTHER_RANGES};
    const struct identity *record = READ(cpu);

    CHECK(unexpected == 0);
    CHECK(!kept(record, 3, 0));
    CHECK(kept(record, 4, 0));
    CHECK(kept(record, 4, 1)); /* the subleaf that says "no more" is kept; nothing after it */
}

void
topology_is_cleared(void)
{
    static const struct cpuid_leaf cpu[] = {
        {0, 0, 0xb, 1, 2, 3},        {1, 0, 7, 0xabcdef12, 0, 0}, {2, 0, 0, 0, 0, 0},
        {4, 0, 0, 0, 0, 0},          {5, 0, 0, 0, 0, 0},          {6, 0, 0, 0, 0, 0},
        {7, 0, 0, 0, 0, 0},          {8, 0, 0, 0, 0, 0},          {9, 0, 0, 0, 0, 0},
        {0xa, 0, 0, 0, 0, 0},        {0xb, 0, 1, 2, 0x100, 0x55}, {0xb, 1, 4, 8, 0x201, 0x55},
        {0xb, 2, 0, 0, 0x002, 0x55}, NO_OTHER_RANGES};
    const struct identity *record = READ(cpu);

    CHECK(unexpected == 0);
    CHECK(kept(record, 0xb, 2));
    for (uint32_t i = 0; i < record->leaf_count; i++) {
        if (record->leaves[i].leaf == 1)
            CHECK(record->leaves[i].ebx == 0x00cdef12);
        if (record->leaves[i].leaf == 0xb)
            CHECK(record->leaves[i].edx == 0);
    }
}

void
absent_range_is_dropped(void)
{
    static const struct cpuid_leaf cpu[] = {{0, 0, 1, 1, 2, 3},
                                            {1, 0, 0, 0, 0, 0},
                                            {0x40000000, 0, 0x40000001, 0x4b4d564b, 0, 0},
                                            {0x40000001, 0, 5, 0, 0, 0},
                                            {0x80000000, 0, 0, 0, 0, 0},
                                            {0x80860000, 0, 0xffffffff, 0, 0, 0},
                                            {0xc0000000, 0, 1, 0, 0, 0}};
    const struct identity *record = READ(cpu);

    CHECK(unexpected == 0);
    CHECK(kept(record, 0x40000001, 0));
    CHECK(!kept(record, 0x80000000, 0));
    CHECK(!kept(record, 0x80860000, 0));
    CHECK(!kept(record, 0xc0000000, 0));
    CHECK(record->leaf_count == 4);
}

void
nonsensical_maximum_is_bounded(void)
{
    static const struct cpuid_leaf cpu[] = {{0, 0, 0xffff, 1, 2, 3}, NO_OTHER_RANGES};
    const struct identity *record = READ(cpu);

    CHECK(questions < 200);
    CHECK(record->leaf_count <= MAXIMUM_LEAVES);
}

void
endless_subleaves_are_bounded(void)
{
    static const struct cpuid_leaf cpu[] = {
        {0, 0, 0x1d, 1, 2, 3},
        {1, 0, 0, 0, 1u << 26, 0},                                       /* XSAVE: leaf 0DH */
        {2, 0, 0xfe01, 0, 0, 0},                                         /* leaf 18H */
        {4, ANY, 0x21, 0, 0, 0},                                         /* always a next cache */
        {7, ANY, 0xffffffff, 1u << 25, 0, 1u << 24},                     /* 2^32 subleaves; 14H, 1DH */
        {0xb, ANY, 1, 1, 0x100, 0},                                      /* always a next level */
        {0xd, ANY, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},      /* every component */
        {0x14, ANY, 0xffffffff, 0, 0, 0},    {0x18, ANY, 0xffffffff, 0, 0, 0},
        {0x1d, ANY, 0xffffffff, 0, 0, 0},    NO_OTHER_RANGES};
    const struct identity *record = READ(cpu);

    CHECK(record->leaf_count == MAXIMUM_LEAVES);
    CHECK(record->leaves_cut);
    CHECK(questions < 2 * MAXIMUM_LEAVES);
    CHECK(guarded.after.leaf == 0 && guarded.after.eax == 0);
}

/* Each row: a leaf, and where the manual says that it is announced (register 4: nowhere). */
static const struct {
    uint32_t leaf, by_leaf, by_subleaf, reg, bit;
} announced_leaves[] = {
    {0x0f, 7, 0, 1, 12}, {0x10, 7, 0, 1, 15}, {0x12, 7, 0, 1, 2},  {0x14, 7, 0, 1, 25},
    {0x19, 7, 0, 2, 23}, {0x1a, 7, 0, 3, 15}, {0x1b, 7, 0, 3, 18}, {0x1c, 7, 0, 3, 19},
    {0x1d, 7, 0, 3, 24}, {0x1e, 7, 0, 3, 24}, {0x20, 7, 1, 0, 22}, {0x23, 7, 1, 0, 8},
    {0x24, 7, 1, 3, 19}, {0x0d, 1, 0, 2, 26}, {0x05, 1, 0, 2, 3},  {0x0e, 0, 0, 4, 0},
    {0x13, 0, 0, 4, 0},  {0x22, 0, 0, 4, 0},
};

/* What a hypervisor leaves in a leaf that nothing announces is anybody's: it is not even read. */
void
leaves_are_read_with_their_bit(void)
{
    for (size_t i = 0; i < sizeof announced_leaves / sizeof *announced_leaves; i++)
        for (uint32_t set = 0; set < 2; set++) {
            struct cpuid_leaf cpu[64] = {{0, 0, 0x28, 1, 2, 3}, {7, 0, 1, 0, 0, 0}, {7, 1, 0, 0, 0, 0}};
            const uint32_t leaf = announced_leaves[i].leaf, reg = announced_leaves[i].reg;
            const struct identity *identity;
            size_t count = 3;

            for (uint32_t other = 1; other < 0x29; other++)
                if (other != 7)
                    cpu[count++] = (struct cpuid_leaf){other, ANY, 0, 0, 0, 0};
            for (size_t row = 0; row < count; row++)
                if (set && reg < 4 && cpu[row].leaf == announced_leaves[i].by_leaf &&
                    (cpu[row].subleaf == announced_leaves[i].by_subleaf || cpu[row].subleaf == ANY))
                    (&cpu[row].eax)[reg] |= 1u << announced_leaves[i].bit;
            cpu[count++] = (struct cpuid_leaf){0x40000000, 0, 7, 0, 0, 0};
            cpu[count++] = (struct cpuid_leaf){0x80000000, 0, 7, 0, 0, 0};
            identity = read_cpu(cpu, count);
            CHECK(unexpected == 0, "leaf %x", leaf);
            CHECK(kept(identity, leaf, 0) == (set && reg < 4), "leaf %x, bit %u", leaf, set);
            CHECK(kept(identity, 0x17, 0) && kept(identity, 0x28, 0));
        }
}

/* FEH in leaf 2 sends its reader to leaf 18H. */
void
descriptor_announces_a_leaf(void)
{
    struct cpuid_leaf cpu[32] = {{0, 0, 0x18, 1, 2, 3}};
    size_t count = 1;

    for (uint32_t leaf = 1; leaf < 0x19; leaf++)
        cpu[count++] = (struct cpuid_leaf){leaf, ANY, 0, 0, 0, 0};
    cpu[count++] = (struct cpuid_leaf){0x40000000, 0, 7, 0, 0, 0};
    cpu[count++] = (struct cpuid_leaf){0x80000000, 0, 7, 0, 0, 0};
    CHECK(!kept(read_cpu(cpu, count), 0x18, 0));
    cpu[2].eax = 0xfe; /* AL is a count */
    CHECK(!kept(read_cpu(cpu, count), 0x18, 0));
    cpu[2].ecx = 0x8000fe00; /* bit 31: no descriptors here */
    CHECK(!kept(read_cpu(cpu, count), 0x18, 0));
    cpu[2].edx = 0x00fe0000;
    CHECK(kept(read_cpu(cpu, count), 0x18, 0));
}

/* The order of the claims decides how they are found; the bits are those of the manual. */
void
denied_features_are_found(void)
{
    static const struct cpuid_leaf with_avx[] = {{0, 0, 7, 1, 2, 3},
                                                 {1, 0, 0, 0, 1u << 28 | 1u << 26, 0},
                                                 {2, 0, 0, 0, 0, 0},
                                                 {4, 0, 0, 0, 0, 0},
                                                 {5, ANY, 0, 0, 0, 0},
                                                 {6, 0, 0, 0, 0, 0},
                                                 {7, 0, 0, 1u << 5, 0, 0},
                                                 NO_OTHER_RANGES};
    const struct candidate_table *table = cpuprobe_candidates();
    struct feature_bits denied;
    int avx = 0, avx2 = 0, others = 0;

    find_denied(READ(with_avx), &denied);
    for (uint32_t i = 0; i < table->count; i++) {
        const struct feature_set *set = &table->sets[table->candidates[i].set];
        bool is_denied =
            ((set->features.word[0] & denied.word[0]) | (set->features.word[1] & denied.word[1])) != 0;

        if (strcmp(set->names, "avx") == 0)
            avx += !is_denied;
        else if (strcmp(set->names, "avx2") == 0)
            avx2 += !is_denied;
        else
            others += !is_denied;
    }
    CHECK(avx > 100 && avx2 > 5, "%d, %d", avx, avx2);
    CHECK(others == 1, "%d", others); /* XSAVE itself, by bit 26 */
}

void
xgetbv_needs_osxsave(void)
{
    static const struct cpuid_leaf without[] = {
        {0, 0, 1, 1, 2, 3}, {1, 0, 0, 0, 1u << 26, 0}, NO_OTHER_RANGES};
    static const struct cpuid_leaf with[] = {
        {0, 0, 1, 1, 2, 3}, {1, 0, 0, 0, 3u << 26, 0}, NO_OTHER_RANGES};
    const struct identity *record = READ(without);

    CHECK(record->xgetbv_outcome == OUTCOME_SKIPPED);
    CHECK(xgetbv_questions == 0);
    CHECK(record->xcr0 == 0);
    record = READ(with);
    CHECK(record->xgetbv_outcome == OUTCOME_OK);
    CHECK(record->xcr0 == 0xe7);
}

void
cpuid_fault_is_reported(void)
{
    static struct identity record;

    memset(&record, 0, sizeof record);
    questions = xgetbv_questions = 0;
    cpuid_answer = OUTCOME_SIGSEGV;
    xgetbv_answer = OUTCOME_SIGILL;
    read_fake_identity(NULL, &record);
    CHECK(record.cpuid_outcome == OUTCOME_SIGSEGV);
    CHECK(record.leaf_count == 0);
    CHECK(questions == 1);
    CHECK(record.xgetbv_outcome == OUTCOME_SIGILL);
    CHECK(record.xcr0 == 0);
}
