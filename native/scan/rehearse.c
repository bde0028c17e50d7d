/* A function on each model: what all runs together tell of it (execute.h). */
#include "execute.h"

enum {
    VENDORS = MODELS / GRADES,
    FEATURES = 12, /* how far behind the beginning of libgcc's __cpu_model they stand; the vendor
                      stands there */
};

/* What is known of a value of so many bytes by what it is on each model. */
static struct execute_finding
finding(struct executed *file, uint64_t address, const struct number *values, unsigned size)
{
    struct execute_finding made = {.address = address, .is_known = 1, .size = (uint8_t)size};
    uint64_t mask = size < 8 ? (1ull << 8 * size) - 1 : UINT64_MAX;
    struct bits bits = {.soft = 0};
    int is_same = 1;

    for (unsigned model = 0; model < MODELS; model++) {
        unsigned grade = model / VENDORS;
        int is_first = model % VENDORS == 0;

        if (!values[model].is_known)
            return (struct execute_finding){.address = address, .size = (uint8_t)size};
        bits.ones[grade] = values[model].value & (is_first ? UINT64_MAX : bits.ones[grade]);
        bits.zeros[grade] = ~values[model].value & mask & (is_first ? mask : bits.zeros[grade]);
        is_same &= values[model].value == values[model % VENDORS].value;
    }
    made.value = is_same ? values[0].value : 0;
    if (!is_same)
        made.fact = ways_fact(file->known, &bits, &made.labels);
    return made;
}

/* Remembers a byte, what it is on each model; or that this is not known. */
static void
remember(struct executed *file, uint64_t address, const uint8_t *values, int is_known)
{
    struct execute_remembered *kept = memory_remember(file, address & ~7ull);
    unsigned byte = address & 7, bit = 1u << byte;
    uint64_t mask = 0xffull << 8 * byte;

    if (!kept || kept->mixed & bit)
        return;
    for (unsigned model = 0; model < MODELS && is_known; model++) {
        uint64_t value = (uint64_t)values[model] << 8 * byte;

        is_known = !(kept->known & bit) || (kept->values[model] & mask) == value;
        kept->values[model] = (kept->values[model] & ~mask) | value;
    }
    *(is_known ? &kept->known : &kept->mixed) |= (uint8_t)bit;
    kept->known &= (uint8_t)~kept->mixed;
}

/* Likewise so many bytes. */
static void
remember_all(struct executed *file, uint64_t address, const struct number *values, unsigned size)
{
    uint8_t bytes[MODELS];
    int is_known = 1;

    for (unsigned model = 0; model < MODELS; model++)
        is_known &= values[model].is_known;
    for (unsigned byte = 0; byte < size; byte++) {
        for (unsigned model = 0; model < MODELS; model++)
            bytes[model] = (uint8_t)(values[model].value >> 8 * byte);
        remember(file, address + byte, bytes, is_known);
    }
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
    for (unsigned at = 0; space->is_used && at < MOST_CALLED; at++)
        space->called[at].epoch = 0;
    space->is_used = 1;
    file->remembered = file->in_vain = 0;
    file->epoch = 1; /* no call was kept yet */
    for (uint32_t at = 0; at < file->known->models.count; at++) {
        struct number values[MODELS], vendors[MODELS];

        for (unsigned model = 0; model < MODELS; model++) {
            vendors[model] = (struct number){1 + model % VENDORS, 1};
            values[model] = (struct number){0, 1};
            for (unsigned bit = 0; bit < 32; bit++)
                if ((file->known->bits[CPU_MODEL][bit] & ~(unsigned)GIVEN) <= model / VENDORS)
                    values[model].value |= 1ull << bit;
        }
        remember_all(file, file->known->models.all[at], vendors, 4);
        remember_all(file, file->known->models.all[at] + FEATURES, values, 4);
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

/* Of a value that begins at a byte of a word on some model, what it is on each; returns its size.
 */
static unsigned
values_at(const struct execution *runs, uint64_t address, unsigned byte, struct number *values)
{
    unsigned size = 0;

    for (unsigned model = 0; model < MODELS; model++) {
        const struct execute_word *word = memory_written(runs[model].memory, address);

        if (word && word->sizes >> 4 * byte & 15)
            size = word->sizes >> 4 * byte & 15;
    }
    for (unsigned model = 0; model < MODELS && size; model++)
        values[model] = memory_load(&runs[model], address + byte, size);
    return size;
}

/* Takes in what is known of the values that begin in a word: of who is called with arguments, or of
 * static memory; `call` is NULL then. */
static void
look_at(struct executed *file, const struct execution *runs, uint64_t address,
        struct execute_call *call)
{
    for (unsigned byte = 0; byte < 8; byte++) {
        struct number values[MODELS];
        unsigned size = values_at(runs, address, byte, values);

        if (!size)
            continue;
        if (call) {
            if (call->puts < MOST_PUT)
                call->put[call->puts] = finding(file, address + byte, values, size);
            call->puts++;
            continue;
        }
        if (file->count < MOST_FOUND) {
            file->found[file->count] = finding(file, address + byte, values, size);
            file->count += file->found[file->count].is_known;
        }
        remember_all(file, address + byte, values, size);
    }
}

/* Goes through all words that the runs wrote, each once. */
static void
look_through(struct executed *file, const struct execution *runs, struct execute_call *call)
{
    for (unsigned model = 0; model < MODELS; model++) {
        const struct execute_memory *memory = runs[model].memory;

        for (uint32_t at = 0; at < memory->count; at++) {
            uint64_t address = memory->words[memory->order[at]].address;
            int is_seen = !is_of_file(address) && !(call && is_of_frame(address));

            for (unsigned before = 0; before < model && !is_seen; before++)
                is_seen = memory_written(runs[before].memory, address) != NULL;
            if (!is_seen)
                look_at(file, runs, address, call);
        }
    }
}

/* What the runs returned. */
static struct execute_finding
returned(struct executed *file, const struct execution *runs)
{
    static const uint8_t sizes[] = {8, 4, 1};
    struct execute_finding made = {.is_known = 0};

    for (unsigned at = 0; at < sizeof sizes && !made.is_known; at++) {
        struct number values[MODELS];

        for (unsigned model = 0; model < MODELS; model++)
            values[model] = execution_value(&runs[model], RAX, sizes[at]);
        made = finding(file, 0, values, sizes[at]);
    }
    return made;
}

/* How many instructions a run may take. */
static uint32_t
most_of(const struct executed *file)
{
    return file->left < file->most ? (uint32_t)file->left : file->most;
}

static void
begin(struct execution *run, struct executed *file, unsigned model)
{
    memory_clear(&file->space->memory[model]);
    execution_begin(run, file, model, &file->space->memory[model]);
}

/* Runs a function on each model; whether none is lost. */
static int
run_all(struct executed *file, struct execution *runs, uint64_t start)
{
    /* On the one with all features first: there most is executed, and most are lost. */
    for (unsigned model = MODELS; model-- > 0;) {
        struct execution *run = &runs[model];
        enum ended ended;

        begin(run, file, model);
        ended = execute(run, start, most_of(file));
        file->left -= run->steps;
        if (ended != RUN_ENDS)
            return 0;
        if (tells(run))
            continue;
        for (uint32_t at = 0; at < run->memory->count; at++) {
            const struct execute_word *word = &run->memory->words[run->memory->order[at]];

            for (unsigned byte = 0; byte < 8 && is_of_file(word->address); byte++)
                if (word->written >> byte & 1)
                    remember(file, word->address + byte, NULL, 0);
        }
        return 0; /* what the others do is of no use */
    }
    return 1;
}

void
executed_look(struct executed *file, uint64_t start)
{
    struct execution runs[MODELS];

    file->count = 0;
    file->returned.is_known = 0;
    if (!run_all(file, runs, start))
        return;
    look_through(file, runs, NULL);
    file->returned = returned(file, runs);
    file->epoch += file->count != 0;
}

/* Executes a call on each model; whether a run comes back from it on each. */
static int
run_called(struct executed *file, struct execution *runs, const struct execute_call *call)
{
    const struct ways_convention *convention = file->convention;

    for (unsigned model = MODELS; model-- > 0;) {
        struct execution *run = &runs[model];
        enum ended ended;

        begin(run, file, model);
        for (unsigned at = 0; at < convention->number; at++)
            if (call->given >> at & 1)
                execution_put(run, convention->arguments[at], 8,
                              (struct number){call->arguments[at], 1});
        ended = execute(run, call->target, most_of(file));
        file->left -= run->steps;
        if (ended != RUN_ENDS)
            return 0;
    }
    return 1;
}

static int
is_same_call(const struct execute_call *one, const struct execute_call *other)
{
    int is_same = one->target == other->target && one->given == other->given;

    for (unsigned at = 0; at < MOST_GIVEN; at++)
        is_same &= one->arguments[at] == other->arguments[at];
    return is_same;
}

const struct execute_call *
executed_call(struct executed *file, const struct execute_call *wanted)
{
    struct execution runs[MODELS];
    struct execute_call *call;
    uint64_t hash = wanted->target + wanted->given;

    for (unsigned at = 0; at < MOST_GIVEN; at++)
        hash = (hash ^ wanted->arguments[at]) * 0x9e3779b97f4a7c15ull;
    if (!file->space)
        return NULL;
    call = &file->space->called[hash >> 40 & (MOST_CALLED - 1)];
    if (!is_same_call(call, wanted) || call->epoch != file->epoch) {
        if (file->in_vain == MOST_IN_VAIN)
            return NULL;
        *call = *wanted;
        call->epoch = file->epoch;
        call->puts = 0;
        call->is_known = (uint32_t)run_called(file, runs, call);
        if (call->is_known) {
            look_through(file, runs, call);
            call->returned = returned(file, runs);
            call->is_known = call->puts <= MOST_PUT;
        }
        file->in_vain += !call->is_known;
    }
    return call->is_known ? call : NULL;
}

unsigned
executed_refuses(struct executed *file, uint64_t start)
{
    for (unsigned model = 0; model < MODELS; model++) {
        struct execution run;
        enum ended ended;

        begin(&run, file, model);
        ended = execute(&run, start, most_of(file));
        file->left -= run.steps;
        if (ended != RUN_REFUSED)
            return model / VENDORS;
    }
    return TIER_NONE;
}
