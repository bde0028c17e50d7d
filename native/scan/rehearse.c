/* A function on each model: what all runs together tell of it (execute.h). */
#include "execute.h"

enum {
    VENDORS = MODELS / GRADES,
    FEATURES = 12, /* how far behind the beginning of libgcc's __cpu_model they stand */
};

/* What is known of a value of so many bytes by what it is on each model. */
static struct execute_finding
finding(struct executed *file, uint64_t address, const struct number *values, unsigned size)
{
    struct execute_finding made = {.address = address, .is_known = 1};
    uint64_t mask = size < 8 ? (1ull << 8 * size) - 1 : UINT64_MAX;
    struct bits bits = {.soft = 0};
    int is_same = 1;

    for (unsigned model = 0; model < MODELS; model++) {
        unsigned grade = model / VENDORS;
        int is_first = model % VENDORS == 0;

        if (!values[model].is_known)
            return (struct execute_finding){.address = address};
        bits.ones[grade] = values[model].value & (is_first ? UINT64_MAX : bits.ones[grade]);
        bits.zeros[grade] = ~values[model].value & mask & (is_first ? mask : bits.zeros[grade]);
        is_same &= values[model].value == values[model % VENDORS].value;
    }
    made.value = is_same ? values[0].value : 0;
    if (!is_same)
        made.fact = ways_fact(file->known, &bits, &made.labels);
    return made;
}

static void
remember_number(struct executed *file, uint64_t address, const uint64_t *values, unsigned bytes)
{
    struct execute_remembered *kept = memory_remember(file, address);

    if (!kept)
        return;
    for (unsigned byte = 0; byte < 8; byte++) {
        unsigned bit = bytes & 1u << byte;
        uint64_t mask = 0xffull << 8 * byte;

        if (!bit || kept->mixed & bit)
            continue;
        for (unsigned model = 0; model < MODELS; model++) {
            uint64_t *value = &kept->values[model];

            if (kept->known & bit && (*value ^ values[model]) & mask)
                kept->mixed |= (uint8_t)bit;
            *value = (*value & ~mask) | (values[model] & mask);
        }
        kept->known |= (uint8_t)bit;
    }
    kept->known &= (uint8_t)~kept->mixed;
}

static void
forget(struct executed *file, uint64_t address, unsigned bytes)
{
    struct execute_remembered *kept = memory_remember(file, address);

    if (!kept)
        return;
    kept->mixed |= (uint8_t)bytes;
    kept->known &= (uint8_t)~bytes;
}

void
executed_begin(struct executed *file)
{
    struct execute_space *space = file->space;

    for (unsigned at = 0; space->is_used && at < MOST_REMEMBERED; at++)
        space->remembered[at].known = space->remembered[at].mixed = 0;
    for (unsigned at = 0; space->is_used && at < MOST_DECODED; at++)
        space->decoded[at].operation.length = 0;
    for (unsigned model = 0; model < MODELS; model++)
        memory_clear(&space->memory[model]);
    space->is_used = 1;
    file->remembered = 0;
    for (uint32_t at = 0; at < file->known->models.count; at++) {
        uint64_t first = file->known->models.all[at] + FEATURES, values[MODELS];
        unsigned skip = first & 7;

        for (unsigned model = 0; model < MODELS; model++) {
            values[model] = 0;
            for (unsigned bit = 0; bit < 32; bit++)
                if ((file->known->bits[CPU_MODEL][bit] & ~(unsigned)GIVEN) <= model / VENDORS)
                    values[model] |= 1ull << bit;
            values[model] <<= 8 * skip;
        }
        if (skip <= 4 && is_of_file(first))
            remember_number(file, first - skip, values, 15u << skip);
    }
}

/* Whether anything is known of what a run returned or wrote. */
static int
tells(const struct execution *run)
{
    if (execution_value(run, RAX, 1).is_known)
        return 1;
    for (uint32_t at = 0; at < run->memory->count; at++) {
        const struct execute_word *word = &run->memory->words[run->memory->order[at]];

        for (unsigned byte = 0; byte < 8 && is_of_file(word->address); byte++) {
            unsigned size = word->sizes >> 4 * byte & 15;

            if (size && memory_load(run, word->address + byte, size).is_known)
                return 1;
        }
    }
    return 0;
}

/* What the runs left in a word of static memory: takes in what is known of values that begin there,
 * and of each byte. */
static void
look_at(struct executed *file, const struct execution *runs, uint64_t address)
{
    uint64_t values[MODELS];
    unsigned written = 0, known = 0xff;
    uint32_t sizes = 0;

    for (unsigned model = 0; model < MODELS; model++) {
        const struct execute_word *word = memory_written(runs[model].memory, address);

        written |= word ? word->written : 0u;
        sizes |= word ? word->sizes : 0u;
    }
    for (unsigned byte = 0; byte < 8; byte++) {
        struct number found[MODELS];
        unsigned size = 0;

        for (unsigned model = 0; model < MODELS && sizes >> 4 * byte & 15; model++) {
            const struct execute_word *word = memory_written(runs[model].memory, address);

            size = word && word->sizes >> 4 * byte & 15 ? word->sizes >> 4 * byte & 15 : size;
        }
        for (unsigned model = 0; model < MODELS && size; model++)
            found[model] = memory_load(&runs[model], address + byte, size);
        if (size && file->count < MOST_FOUND) {
            file->found[file->count] = finding(file, address + byte, found, size);
            file->count += file->found[file->count].is_known;
        }
    }
    for (unsigned model = 0; model < MODELS; model++) {
        const struct execute_remembered *before = memory_remembered(file, address);
        const struct execute_word *word = memory_written(runs[model].memory, address);
        unsigned own = word ? word->written : 0u;

        known &= (word ? word->known : 0u) | (before ? before->known & ~own : 0u);
        values[model] = 0;
        for (unsigned byte = 0; byte < 8; byte++) {
            uint64_t value = own >> byte & 1 ? word->value : before ? before->values[model] : 0;

            values[model] |= value & 0xffull << 8 * byte;
        }
    }
    remember_number(file, address, values, written & known);
    forget(file, address, written & ~known);
}

/* How many instructions a run may take. */
static uint32_t
most_of(const struct executed *file)
{
    return file->left < file->most ? (uint32_t)file->left : file->most;
}

/* Runs a function on each model; whether none is lost. */
static int
run_all(struct executed *file, struct execution *runs, uint64_t start)
{
    /* On the one with all features first: there most is executed, and most are lost. */
    for (unsigned model = MODELS; model-- > 0;) {
        struct execution *run = &runs[model];
        enum ended ended = execute(run, file, model, start, most_of(file));

        file->left -= run->steps;
        if (ended != RUN_ENDS)
            return 0;
        if (tells(run))
            continue;
        for (uint32_t at = 0; at < run->memory->count; at++) {
            const struct execute_word *word = &run->memory->words[run->memory->order[at]];

            if (is_of_file(word->address))
                forget(file, word->address, word->written);
        }
        return 0; /* what the others do is of no use */
    }
    return 1;
}

void
executed_look(struct executed *file, uint64_t start)
{
    static const uint8_t sizes[] = {8, 4, 1};
    struct execution runs[MODELS];

    file->count = 0;
    file->returned.is_known = 0;
    if (!run_all(file, runs, start))
        return;
    for (unsigned model = 0; model < MODELS; model++) {
        const struct execute_memory *memory = runs[model].memory;

        for (uint32_t at = 0; at < memory->count; at++) {
            uint64_t address = memory->words[memory->order[at]].address;
            int is_seen = !is_of_file(address);

            for (unsigned before = 0; before < model && !is_seen; before++)
                is_seen = memory_written(runs[before].memory, address) != NULL;
            if (!is_seen)
                look_at(file, runs, address);
        }
    }
    for (unsigned at = 0; at < sizeof sizes && !file->returned.is_known; at++) {
        struct number values[MODELS];

        for (unsigned model = 0; model < MODELS; model++)
            values[model] = execution_value(&runs[model], RAX, sizes[at]);
        file->returned = finding(file, 0, values, sizes[at]);
    }
}

unsigned
executed_refuses(struct executed *file, uint64_t start)
{
    for (unsigned model = 0; model < MODELS; model++) {
        struct execution run;
        enum ended ended = execute(&run, file, model, start, most_of(file));

        file->left -= run.steps;
        if (ended != RUN_REFUSED)
            return model / VENDORS;
    }
    return TIER_NONE;
}
