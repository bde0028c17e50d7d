/*
 * What a CPU says of itself: ID registers, read by MRS under the guard. Linux emulates that since
 * 4.11 and shows what it lets programs use; before it faults.
 */
#include "../../guard.h"
#include "registers.h"

#define STRIDE 12 /* bytes of a reader: bti, mrs, b */

extern HIDDEN const uint8_t guarded_mrs[]; /* entry.c: readers, one after the other */

static const char *const names[] = {
#define NAME(name, crm, op2) #name,
    EACH_ID_REGISTER(NAME)
#undef NAME
};

/* Fills in what the CPU that this process runs on says. */
void
read_identity(struct guard *guard, struct identity *identity)
{
    identity->read = 0;
    for (unsigned int i = 0; i < ID_REGISTERS; i++) {
        const uint8_t *code = guarded_mrs + i * STRIDE + 4;
        enum outcome outcome;

        guard->state.nzcv = 0;
        outcome = run_once(guard, code, 4, STATE_GPR);
        identity->value[i] = outcome == OUTCOME_OK ? guard->state.gpr[0] : 0;
        identity->read |= (uint32_t)(outcome == OUTCOME_OK) << i;
        if (i == 0)
            identity->outcome = (uint8_t)outcome;
        if (i == 0 && outcome != OUTCOME_OK)
            return; /* nobody emulates the first: then none of them */
    }
}

/* Sets the bits of the features that the ID registers deny. */
void
find_denied(const struct identity *identity, struct feature_bits *denied)
{
    *denied = (struct feature_bits){{0}};
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (registers_say(identity, i) == SAID_NO)
            add_feature(denied, i);
}

bool
same_identity(const struct identity *a, const struct identity *b)
{
    return a->read == b->read && a->outcome == b->outcome &&
           bytes_equal(a->value, b->value, sizeof a->value);
}

/* Does this CPU still say of itself what it said before? Asked where a pin was lost. */
bool
still_identity(struct guard *guard, const struct identity *identity)
{
    struct identity now = {.read = 0};

    read_identity(guard, &now);
    return same_identity(&now, identity);
}

/* Copies what stands in shared memory, each number only as far as it can be true. */
void
take_identity(struct identity *to, const struct identity *from)
{
    to->outcome = known_outcome(from->outcome);
    to->read = from->read & ((1u << ID_REGISTERS) - 1);
    for (unsigned int i = 0; i < ID_REGISTERS; i++)
        to->value[i] = to->read >> i & 1 ? from->value[i] : 0;
}

/* Reading it ended like this, again and again: nobody tries it any more. */
void
settle_identity(struct identity *identity, enum outcome outcome)
{
    *identity = (struct identity){.outcome = (uint8_t)outcome, .settled = true};
}

static void
write_auxiliary(struct writer *writer, const struct options *options)
{
    static const struct {
        enum auxiliary entry;
        const char *name;
    } rows[] = {
        {AUXILIARY_HWCAP, "hwcap"}, {AUXILIARY_HWCAP2, "hwcap2"}, {AUXILIARY_HWCAP3, "hwcap3"}};

    json_key(writer, "auxv");
    json_open(writer, '{');
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (options->told[rows[i].entry]) {
            json_key(writer, rows[i].name);
            json_number(writer, options->auxiliary[rows[i].entry]);
        }
    json_close(writer, '}');
}

/* Writes the members of an observation that are this instruction set's own. */
void
write_machine(struct writer *writer, const struct options *options,
              const struct measurement *measurement)
{
    (void)measurement;
    json_key(writer, "isa");
    json_string(writer, "aarch64");
    write_auxiliary(writer, options);
    if (options->told[AUXILIARY_PAGESZ]) {
        json_key(writer, "page_size");
        json_number(writer, options->auxiliary[AUXILIARY_PAGESZ]);
    }
}

/* Writes the members of a group that say what its CPUs are. */
void
write_identity(struct writer *writer, const struct identity *identity)
{
    json_key(writer, "registers");
    json_open(writer, '{');
    for (unsigned int i = 0; i < ID_REGISTERS; i++)
        if (identity->read >> i & 1) {
            json_key(writer, names[i]);
            json_number(writer, identity->value[i]);
        }
    json_close(writer, '}');
    if (identity->outcome != OUTCOME_OK) {
        json_key(writer, "registers_outcome");
        json_string(writer, outcome_name((enum outcome)identity->outcome));
    }
}
