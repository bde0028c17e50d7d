/*
 * From the parts of a machine to its verdict: one state a feature, what is safe, the psABI level.
 */
#include "verdict.h"

#define MAXIMUM_PARTS 64 /* of one group: /proc/cpuinfo has at most MAXIMUM_KINDS blocks */

static const struct {
    const char *name;
    struct feature_bits features;
} levels[] = {
#define ROW(name, features) {name, features},
    EACH_LEVEL(ROW)
#undef ROW
};

const char *
state_name(enum state state)
{
    static const char *const names[] = {
#define NAME(constant, name) name,
        EACH_STATE(NAME)
#undef NAME
    };

    return names[state];
}

/* Do two CPUs show the same? The bytes of wrong values are not compared: they may be random. */
static bool
same_results(const struct cpu_record *a, const struct cpu_record *b, uint32_t count)
{
    return same_identity(&a->identity, &b->identity) &&
           bytes_equal(a->outcome, b->outcome, count) &&
           bytes_equal(a->outcome_before, b->outcome_before, count) &&
           bytes_equal(a->disturbance, b->disturbance, count) && a->pinned == b->pinned &&
           a->rounds == b->rounds &&
           bytes_equal(a->failures, b->failures, count * sizeof *a->failures);
}

/* Gives every measured CPU the number of the first record with the same results. */
void
find_groups(struct measurement *measurement, uint32_t candidates)
{
    struct cpu_record *records = measurement->records;

    for (uint32_t i = 0; i < measurement->record_count; i++) {
        records[i].group = i;
        for (uint32_t j = 0; j < i && records[i].measured; j++)
            if (records[j].measured && records[j].group == j &&
                same_results(&records[j], &records[i], candidates)) {
                records[i].group = j;
                break;
            }
    }
}

/* --- the parts of a group ----------------------------------------------------------------- */

struct parts {
    uint32_t classes[MAXIMUM_PARTS], blocks[MAXIMUM_PARTS];
    uint32_t count;
};

/* The first block that names the same features. */
static uint32_t
class_of(const struct kernel_told *kernel, uint32_t block)
{
    for (uint32_t i = 0; i < block; i++)
        if (bytes_equal(&kernel->listings[i].named, &kernel->listings[block].named,
                        sizeof kernel->listings[i].named))
            return i;
    return block;
}

static uint32_t
classes_of(const struct kernel_told *kernel, uint32_t blocks)
{
    uint32_t classes = 0;

    for (uint32_t i = 0; i < kernel->listing_count; i++)
        if (blocks >> i & 1)
            classes |= 1u << class_of(kernel, i);
    return classes;
}

/* A group apart by what the kernel lists for its CPUs; those without a block stay with the first.
 */
static void
find_parts(const struct judged_machine *machine, const struct measurement *measurement,
           uint32_t group, struct parts *parts)
{
    uint32_t without_block = 0;

    parts->count = 0;
    for (uint32_t i = group; i < measurement->record_count; i++) {
        const struct cpu_record *record = &measurement->records[i];
        uint32_t blocks = machine->set_aside ? 0 : record->blocks, classes, at = 0;

        if (!record->measured || record->group != group)
            continue;
        if (blocks == 0) {
            without_block++;
            continue;
        }
        classes = classes_of(machine->kernel, blocks);
        while (at < parts->count && parts->classes[at] != classes)
            at++;
        if (at == MAXIMUM_PARTS)
            at--;
        else if (at == parts->count) {
            parts->classes[parts->count] = classes;
            parts->blocks[parts->count++] = 0;
        }
        parts->blocks[at] |= blocks;
    }
    if (parts->count == 0 && without_block > 0)
        parts->blocks[parts->count++] = 0;
}

/* --- all parts together ------------------------------------------------------------------- */

/* One state for several parts, each of which is in one of the states (bits). */
static enum state
merge(uint32_t states)
{
    const uint32_t usable = 1u << STATE_OF_USABLE, unverified = 1u << STATE_OF_UNVERIFIED,
                   unknown = 1u << STATE_OF_UNKNOWN, good = usable | unverified;
    uint32_t told = states & ~unknown;

    if (states == good) /* a CPU without evidence is no dispute */
        return STATE_OF_UNVERIFIED;
    if ((states & (states - 1)) == 0)
        return (enum state)__builtin_ctz(states);
    if ((told & ~good) == 0)
        return STATE_OF_UNKNOWN;
    return (told & (told - 1)) == 0 ? (enum state)__builtin_ctz(told) : STATE_OF_UNEVEN;
}

/* What may be used: nothing that is not good, and nothing that builds on it. */
static void
find_safe(struct verdict *verdict)
{
    struct feature_bits bad = {{0}}, unknown = {{0}};

    for (unsigned int i = 0; i < FEATURE_COUNT; i++) {
        enum state state = verdict->state[i];

        if (state == STATE_OF_UNKNOWN)
            add_feature(&unknown, i);
        else if (state != STATE_OF_USABLE && (state != STATE_OF_UNVERIFIED || verdict->executed))
            add_feature(&bad, i);
    }
    for (unsigned int i = 0; i < FEATURE_COUNT; i++) {
        const struct feature_bits *closure = &feature_rows[i].closure;

        if (has_feature(&bad, i) || shares_feature(&bad, closure))
            continue;
        add_feature(&verdict->possible, i);
        if (!has_feature(&unknown, i) && !shares_feature(&unknown, closure))
            add_feature(&verdict->safe, i);
    }
}

static const char *
highest_level(const struct feature_bits *features)
{
    const char *reached = NULL;

    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (!has_features(features, &levels[i].features))
            break;
        reached = levels[i].name;
    }
    return reached;
}

/* The release that counts: the kernel's own, or what its words prove at least. */
static struct release
release_of(const struct kernel_told *kernel, bool set_aside)
{
    static const struct release oldest = OLDEST_IN_USE, by_file = PROVED_BY_GDS_FILE;
    struct release release = oldest;

    if (kernel->release_told)
        return kernel->release;
    if (kernel->gds_file && compare_releases(&by_file, &release) > 0)
        release = by_file;
    for (uint32_t i = 0; i < kernel->listing_count && !set_aside; i++)
        for (unsigned int feature = 0; feature < FEATURE_COUNT; feature++)
            if (has_feature(&kernel->listings[i].named, feature) &&
                compare_releases(&feature_rows[feature].since, &release) > 0)
                release = feature_rows[feature].since;
    return release;
}

static bool
is_set_aside(const struct judged_machine *machine)
{
    const struct kernel_told *kernel = machine->kernel;

    if (kernel->listing_count == 0 || kernel->covered || kernel->gvisor)
        return true;
    for (uint32_t i = 0; i < kernel->listing_count; i++)
        if (!kernel->listings[i].has_flags)
            return true;
    return is_another_cpu(machine);
}

static void
find_levels(const struct judged_machine *machine, struct verdict *verdict)
{
    /* A whole list of a kernel that does not tell its release decides the level all the same. */
    bool of_unknown_age = !machine->kernel->release_told && !machine->set_aside;

    verdict->level_at_least = highest_level(&verdict->safe);
    verdict->level_at_most = highest_level(&verdict->possible);
    if (verdict->level_at_least == verdict->level_at_most || of_unknown_age)
        verdict->level = verdict->level_at_least;
}

/* Everything that is told of the machine as a whole; false where nothing was measured. */
static bool
begin(struct judged_machine *machine, const struct measurement *measurement,
      struct verdict *verdict)
{
    bool signature_known;

    for (uint32_t i = 0; i < measurement->record_count && machine->first == NULL; i++)
        if (measurement->records[i].measured)
            machine->first = &measurement->records[i].identity;
    if (machine->first == NULL)
        return false;
    machine->set_aside = verdict->set_aside = is_set_aside(machine);
    machine->release = release_of(machine->kernel, machine->set_aside);
    verdict->gds_affected = gds_affected(machine, &signature_known);
    verdict->virtual = cpuid_hypervisor(machine->first);
    /* Not believed of a CPU that is known not to have the flaw: then it is somebody's mistake. */
    machine->avx_disabled = verdict->avx_disabled =
        machine->kernel->avx_disabled && (!signature_known || verdict->gds_affected);
    return true;
}

/*
 * Fills the verdict on a measurement whose groups are found.
 *
 * options: what was asked of the measurement. kernel: what the kernel's files say.
 */
void
judge(const struct options *options, const struct candidate_table *table,
      const struct measurement *measurement, const struct kernel_told *kernel,
      struct verdict *verdict)
{
    struct judged_machine machine = {.options = options, .table = table, .kernel = kernel};
    struct feature_bits detected, claimed, wrong = {{0}};
    uint32_t states[FEATURE_COUNT] = {0};
    bool xcr0_known = true, mute;

    *verdict = (struct verdict){.executed = options->execute};
    if (!begin(&machine, measurement, verdict))
        return;
    fill_features(&detected);
    fill_features(&claimed);
    for (uint32_t group = 0; group < measurement->record_count; group++) {
        struct parts parts;

        if (!measurement->records[group].measured || measurement->records[group].group != group)
            continue;
        find_parts(&machine, measurement, group, &parts);
        for (uint32_t i = 0; i < parts.count; i++) {
            struct part part = {&measurement->records[group], parts.blocks[i]};
            struct opinion opinion;

            judge_part(&machine, &part, &opinion);
            for (unsigned int feature = 0; feature < FEATURE_COUNT; feature++)
                states[feature] |= 1u << opinion.state[feature];
            keep_features(&detected, &opinion.detected);
            keep_features(&claimed, &opinion.claimed);
            unite_features(&wrong, &opinion.wrong);
            xcr0_known = xcr0_known && opinion.xcr0_known;
        }
    }
    verdict->claimed = claimed;
    verdict->wrong = wrong;
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        verdict->state[i] = (uint8_t)merge(states[i]);
    find_safe(verdict);
    find_levels(&machine, verdict);
    mute = options->execute && machine.first->leaf_count == 0;
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (!has_feature(&detected, i) && !mute && (xcr0_known || feature_xcr0(i) == 0))
            add_feature(&verdict->refused, i);
}
