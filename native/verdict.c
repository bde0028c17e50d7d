/*
 * From the parts of a machine to its verdict: one state a feature, what is safe, the psABI level.
 */
#include "verdict.h"

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

/* Leaves out what a part where nothing ran cannot dispute: the child may have been killed there. */
static uint32_t
without_mute(uint32_t states, uint32_t shown)
{
    if (shown >> STATE_OF_HIDDEN & 1)
        states &= ~(1u << STATE_OF_ABSENT) | shown;
    if (shown >> STATE_OF_BROKEN & 1)
        states &= ~(1u << STATE_OF_UNVERIFIED | 1u << STATE_OF_GATED) | shown;
    return states;
}

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

        if (state == STATE_OF_UNKNOWN || (state == STATE_OF_UNVERIFIED && verdict->executed))
            add_feature(&unknown, i); /* told by nobody, or not proven by what was executed */
        else if (state != STATE_OF_USABLE && state != STATE_OF_UNVERIFIED)
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
    bool of_unknown_age =
        !verdict->executed && !machine->kernel->release_told && !machine->set_aside;

    verdict->level_at_least = highest_level(&verdict->safe);
    verdict->level_at_most = highest_level(&verdict->possible);
    if (verdict->level_at_least == verdict->level_at_most || of_unknown_age)
        verdict->level = verdict->level_at_least;
}

/* Did a candidate hang or kill the process that ran it, whatever CPUID says of it? */
static bool
is_deadly(const struct cpu_record *record, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (record->outcome[i] == OUTCOME_TIMEOUT || record->outcome[i] == OUTCOME_KILLED)
            return true;
    return false;
}

static enum judgement
judgement_of(const struct judged_machine *machine, const struct verdict *verdict, bool deadly,
             bool avx_off, bool mute)
{
    static const struct feature_bits none = {{0}};

    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (verdict->state[i] == STATE_OF_UNEVEN)
            return JUDGED_MISMATCH;
    /* Where no CPUID contradicts it, the kernel's own word counts: it has switched AVX off. */
    if (!has_features(&none, &verdict->wanting) || deadly ||
        (machine->avx_disabled && mute && avx_off))
        return JUDGED_MISMATCH;
    return verdict->level == NULL && verdict->level_at_most != NULL ? JUDGED_INSUFFICIENT
                                                                    : JUDGED_CONSISTENT;
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
    verdict->another_cpu = machine->kernel->listing_count > 0 && is_another_cpu(machine);
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
    uint32_t states[FEATURE_COUNT] = {0}, shown[FEATURE_COUNT] = {0};
    bool xcr0_known = true, mute = true, deadly = false, avx_off = false, first_is_mute;

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
        mute = mute && measurement->records[group].identity.leaf_count == 0;
        deadly =
            deadly || (options->execute && is_deadly(&measurement->records[group], table->count));
        for (uint32_t i = 0; i < parts.count; i++) {
            struct part part = {&measurement->records[group], parts.blocks[i]};
            struct opinion opinion;

            judge_part(&machine, &part, &opinion);
            for (unsigned int feature = 0; feature < FEATURE_COUNT; feature++) {
                states[feature] |= 1u << opinion.state[feature];
                if (has_feature(&opinion.ran, feature))
                    shown[feature] |= 1u << opinion.state[feature];
            }
            keep_features(&detected, &opinion.detected);
            keep_features(&claimed, &opinion.claimed);
            unite_features(&wrong, &opinion.wrong);
            unite_features(&verdict->wanting, &opinion.wanting);
            unite_features(&verdict->gated_off, &opinion.gated_off);
            avx_off = avx_off || opinion.avx_off;
            xcr0_known = xcr0_known && opinion.xcr0_known;
        }
    }
    verdict->claimed = claimed;
    verdict->wrong = wrong;
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        verdict->state[i] = (uint8_t)merge(without_mute(states[i], shown[i]));
    find_safe(verdict);
    find_levels(&machine, verdict);
    first_is_mute = options->execute && machine.first->leaf_count == 0;
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (!has_feature(&detected, i) && !first_is_mute && (xcr0_known || feature_xcr0(i) == 0))
            add_feature(&verdict->refused, i);
    verdict->judgement = (uint8_t)judgement_of(&machine, verdict, deadly, avx_off, mute);
}
