/*
 * The child's way through the candidates on one CPU: which are run, which are spared, and the
 * rounds of --repeat.
 */
#include "session.h"
#include "verdict.h"

/*
 * What has died of #UD on this CPU. The other candidates of that feature set
 * would die likewise and prove nothing more, and under some hypervisors each #UD costs as much as
 * forty good candidates. So would those that build on it; but what CPUID claims is tried all the
 * same.
 */
struct dead {
    struct feature_bits denied;
    uint8_t sets[MAXIMUM_SETS];
    uint32_t count;
};

/* The features, and all that they build on. */
static struct feature_bits
needs_of(const struct feature_bits *features)
{
    struct feature_bits needs = *features;

    for (unsigned int i = 0; i < FEATURE_WORDS; i++)
        for (uint64_t left = features->word[i]; left != 0; left &= left - 1)
            unite_features(&needs, &feature_rows[i * 64 + __builtin_ctzll(left)].closure);
    return needs;
}

static bool
is_dead(const struct dead *dead, const struct candidate_table *table, uint32_t index,
        bool permitted)
{
    uint8_t number = table->candidates[index].set;
    const struct feature_set *set = &table->sets[number];
    bool inherits =
        shares_feature(&set->features, &dead->denied) || (needs_permission(set) && !permitted);
    struct feature_bits needs = inherits ? needs_of(&set->features) : (struct feature_bits){{0}};

    for (uint32_t i = 0; i < dead->count; i++)
        if (dead->sets[i] == number ||
            (inherits && has_features(&needs, &table->sets[dead->sets[i]].features)))
            return true;
    return false;
}

static void
note_dead(struct dead *dead, const struct candidate_table *table, const struct cpu_record *record,
          uint32_t index)
{
    if (record->outcome[index] == OUTCOME_SIGILL && record->fault_offset[index] >= 0 &&
        dead->count < MAXIMUM_SETS)
        dead->sets[dead->count++] = table->candidates[index].set;
}

/*
 * A CPU that says of itself what an earlier one said need not die again of what that one has died
 * of, if CPUID denies it. Returns that earlier record, NULL if there is none.
 */
static const struct cpu_record *
find_like(const struct shared *shared, const struct cpu_record *record)
{
    for (const struct cpu_record *other = shared->records; other < record; other++)
        if (other->measured && other->pinned && !other->borrowed &&
            same_identity(&other->identity, &record->identity))
            return other;
    return NULL;
}

static bool
borrow(struct cpu_record *record, const struct cpu_record *like, uint32_t index)
{
    if (like == NULL || like->outcome[index] != OUTCOME_SIGILL || like->fault_offset[index] < 0)
        return false;
    record->outcome[index] = like->outcome[index];
    record->si_code[index] = like->si_code[index];
    record->fault_offset[index] = like->fault_offset[index];
    record->borrowed = true;
    return true;
}

/*
 * Runs the candidates. permitted: whether this process may run what needs a permission; again: only
 * that, for the permission has just been given.
 */
void
run_candidates(const struct session *session, struct guard *guard, struct cpu_record *record,
               bool permitted, bool again)
{
    struct shared *shared = session->shared;
    const struct cpu_record *like = find_like(shared, record);
    const struct cpu_record *first = &shared->records[shared->asked_at];
    const struct candidate_table *table = session->table;
    struct dead dead = {.count = 0};

    find_denied(&record->identity, &dead.denied);
    for (uint32_t i = 0; i < table->count; i++) {
        const struct feature_set *set = &table->sets[table->candidates[i].set];
        bool gated = needs_permission(set);

        if (record->settled[i] || (again && !gated))
            continue;
        if (again)
            record->outcome_before[i] = record->outcome[i];
        else if (gated && permitted && like == first && first != record)
            record->outcome_before[i] = first->outcome_before[i];
        record->disturbance[i] = DISTURBANCE_NONE;
        if (is_dead(&dead, table, i, permitted)) {
            record->outcome[i] = OUTCOME_SKIPPED;
            continue;
        }
        if (!shares_feature(&set->features, &dead.denied) || !borrow(record, like, i)) {
            shared->position.item = i + 1;
            shared->running = true;
            record->outcome[i] = (uint8_t)guard_run(guard, table, i, record);
            shared->running = false;
        }
        note_dead(&dead, table, record, i);
    }
}

/* A candidate that succeeded before has failed: counted, if it was this CPU that it ran on. */
static void
note_failure(struct cpu_record *record, uint32_t index, enum outcome outcome)
{
    if (outcome == OUTCOME_OK || outcome == OUTCOME_SKIPPED || !on_cpu(record->cpu))
        return;
    record->failures[index]++;
    record->failed_as[index] = (uint8_t)outcome;
}

/* Runs what has succeeded in the first round again, with other inputs from round to round. */
void
repeat_candidates(const struct session *session, struct guard *guard, struct cpu_record *record)
{
    struct shared *shared = session->shared;
    const struct candidate_table *table = session->table;

    for (; record->rounds < session->options->repeat; record->rounds++) {
        for (uint32_t i = 0; i < table->count; i++) {
            if (record->outcome[i] != OUTCOME_OK || record->settled[i])
                continue;
            shared->position.item = i + 1;
            shared->running = true;
            note_failure(record, i, guard_repeat(guard, table, i, record->rounds, record));
            shared->running = false;
        }
        if (record->pinned && !on_cpu(record->cpu))
            pin_again(record->cpu);
    }
    for (uint32_t i = 0; i < table->count; i++)
        if (record->failures[i] > 0 && record->outcome[i] == OUTCOME_OK)
            record->outcome[i] = record->failed_as[i];
}
