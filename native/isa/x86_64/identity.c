/*
 * What a CPU says of itself, once it is read (cpuid.c): compared, judged, copied and written out.
 */
#include "../../guard.h"
#include "evidence.h"

/* Sets the bits of the features that CPUID denies: the bit is clear, or its leaf is not there. */
void
find_denied(const struct identity *identity, struct feature_bits *denied)
{
    const struct cpuid_leaf *leaf = identity->leaves, *end = leaf + identity->leaf_count;

    *denied = (struct feature_bits){{0}};
    if (identity->cpuid_outcome != OUTCOME_OK || identity->leaves_cut)
        return;
    for (uint32_t i = 0; i < FEATURE_COUNT; i++) {
        while (leaf < end && (leaf->leaf < claims[i].leaf ||
                              (leaf->leaf == claims[i].leaf && leaf->subleaf < claims[i].subleaf)))
            leaf++; /* both are in order */
        if (leaf == end || leaf->leaf != claims[i].leaf || leaf->subleaf != claims[i].subleaf ||
            !leaf_says(leaf, &claims[i]))
            add_feature(denied, i);
    }
}

bool
same_identity(const struct identity *a, const struct identity *b)
{
    return a->leaf_count == b->leaf_count && a->cpuid_outcome == b->cpuid_outcome &&
           a->xgetbv_outcome == b->xgetbv_outcome && a->xcr0 == b->xcr0 &&
           bytes_equal(a->leaves, b->leaves, a->leaf_count * sizeof *a->leaves);
}

/* Does this CPU still say of itself what it said before? Asked where a pin was lost. */
bool
still_identity(struct guard *guard, const struct identity *identity)
{
    static struct identity now;

    read_identity(guard, &now);
    return same_identity(&now, identity);
}

/* Copies what stands in shared memory, each number only as far as it can be true. */
void
take_identity(struct identity *to, const struct identity *from)
{
    uint64_t last = 0;

    to->xcr0 = from->xcr0;
    to->cpuid_outcome = known_outcome(from->cpuid_outcome);
    to->xgetbv_outcome = known_outcome(from->xgetbv_outcome);
    for (uint32_t i = 0; i < from->leaf_count && i < MAXIMUM_LEAVES; i++) {
        uint64_t place;

        to->leaves[i] = from->leaves[i];
        place = (uint64_t)to->leaves[i].leaf << 32 | to->leaves[i].subleaf;
        if (i > 0 && place <= last) /* they are read in order, and none twice */
            break;
        last = place;
        to->leaf_count = i + 1;
    }
}

/* Reading it ended like this, again and again: nobody tries it any more. */
void
settle_identity(struct identity *identity, enum outcome outcome)
{
    identity->leaf_count = 0;
    identity->cpuid_outcome = (uint8_t)outcome;
    identity->settled = true;
}

static void
write_leaves(struct writer *writer, const struct identity *identity)
{
    json_key(writer, "cpuid");
    json_open(writer, '[');
    for (uint32_t i = 0; i < identity->leaf_count; i++) {
        const struct cpuid_leaf *leaf = &identity->leaves[i];

        json_open(writer, '[');
        json_number(writer, leaf->leaf);
        json_number(writer, leaf->subleaf);
        json_number(writer, leaf->eax);
        json_number(writer, leaf->ebx);
        json_number(writer, leaf->ecx);
        json_number(writer, leaf->edx);
        json_close(writer, ']');
    }
    json_close(writer, ']');
}

static const char *
permission_name(enum permission permission)
{
    static const char *const names[] = {
#define NAME(constant, name) name,
        EACH_PERMISSION(NAME)
#undef NAME
    };

    return names[permission];
}

/* Writes the members of an observation that are this instruction set's own. */
void
write_machine(struct writer *writer, const struct options *options,
              const struct measurement *measurement)
{
    if (options->told[AUXILIARY_HWCAP2]) {
        json_key(writer, "hwcap2");
        json_number(writer, options->auxiliary[AUXILIARY_HWCAP2]);
    }
    json_key(writer, "amx_permission");
    json_string(writer, permission_name((enum permission)measurement->permission));
}

/* Writes the members of a group that say what its CPUs are. */
void
write_identity(struct writer *writer, const struct identity *identity)
{
    write_leaves(writer, identity);
    json_key(writer, "cpuid_outcome");
    json_string(writer, outcome_name(identity->cpuid_outcome));
    json_key(writer, "xgetbv_outcome");
    json_string(writer, outcome_name(identity->xgetbv_outcome));
    if (identity->xgetbv_outcome == OUTCOME_OK) {
        json_key(writer, "xcr0");
        json_number(writer, identity->xcr0);
    }
}
