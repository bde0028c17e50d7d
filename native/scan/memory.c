/* Memory of a run (execute.h): what it wrote itself, what is remembered of runs before it, and what
 * the file holds. */
#include "execute.h"
#include "sets.h"

static uint32_t
place(uint64_t address, uint32_t room)
{
    return (uint32_t)((address >> 3) + (address >> 15) * 0x9e3779b1) & (room - 1);
}

const struct execute_word *
memory_written(const struct execute_memory *memory, uint64_t address)
{
    for (uint32_t at = place(address, MOST_WRITTEN);; at = (at + 1) & (MOST_WRITTEN - 1)) {
        const struct execute_word *word = &memory->words[at];

        if (!word->written)
            return NULL;
        if (word->address == address)
            return word;
    }
}

/* The word at an address, which is written next; NULL where there is no room. */
static struct execute_word *
word_at(struct execute_memory *memory, uint64_t address)
{
    for (uint32_t at = place(address, MOST_WRITTEN);; at = (at + 1) & (MOST_WRITTEN - 1)) {
        struct execute_word *word = &memory->words[at];

        if (word->written && word->address == address)
            return word;
        if (word->written)
            continue;
        if (memory->count == MOST_WRITTEN / 4 * 3)
            return NULL;
        memory->order[memory->count++] = (uint16_t)at;
        word->address = address;
        return word;
    }
}

void
memory_copy(struct execute_memory *to, const struct execute_memory *from)
{
    memory_clear(to);
    for (; to->count < from->count; to->count++) {
        uint16_t at = from->order[to->count];

        to->order[to->count] = at;
        to->words[at] = from->words[at];
    }
}

void
memory_clear(struct execute_memory *memory)
{
    while (memory->count)
        memory->words[memory->order[--memory->count]] = (struct execute_word){.address = 0};
}

struct execute_remembered *
memory_remembered(const struct executed *file, uint64_t address)
{
    for (uint32_t at = place(address, MOST_REMEMBERED);; at = (at + 1) & (MOST_REMEMBERED - 1)) {
        struct execute_remembered *each = &file->space->remembered[at];

        if (!(each->known | each->mixed))
            return NULL;
        if (each->address == address)
            return each;
    }
}

struct execute_remembered *
memory_remember(struct executed *file, uint64_t address)
{
    uint32_t at = place(address, MOST_REMEMBERED);
    struct execute_remembered *each = memory_remembered(file, address);

    if (each || file->remembered == MOST_REMEMBERED / 4 * 3)
        return each;
    do
        each = &file->space->remembered[at++ & (MOST_REMEMBERED - 1)];
    while (each->known | each->mixed);
    file->remembered++;
    each->address = address;
    return each;
}

/* Eight times as many bits for the bits of a byte. */
static uint64_t
widened(unsigned bytes)
{
    uint64_t made = 0;

    for (; bytes; bytes &= bytes - 1)
        made |= 0xffull << 8 * __builtin_ctz(bytes);
    return made;
}

/* Puts those of some bytes into a word that are in it: it begins at an address, they at another.
 * Returns which of the word's bytes that are. */
static unsigned
put_bytes(uint64_t *word, uint64_t address, uint64_t from, const uint8_t *bytes, uint64_t size)
{
    unsigned put = 0;

    for (unsigned at = 0; at < 8; at++)
        if (address + at - from < size) {
            *word = (*word & ~(0xffull << 8 * at)) | (uint64_t)bytes[address + at - from] << 8 * at;
            put |= 1u << at;
        }
    return put;
}

/* Likewise what some parts of memory hold. */
static unsigned
put_all(const struct execute_constants *parts, uint32_t count, uint64_t *word, uint64_t address)
{
    unsigned known = 0;

    for (uint32_t number = 0; number < count; number++) {
        const struct execute_constants *each = &parts[number];

        if (address + 7 >= each->address && address - each->address + 7 < each->size + 7)
            known |= put_bytes(word, address, each->address, each->bytes, each->size);
    }
    return known;
}

/* What the file holds of a word: constants, and addresses that the loader puts there. Returns which
 * of its bytes are known. */
static unsigned
held(const struct execution *run, uint64_t address, uint64_t *word)
{
    const struct executed *file = run->file;
    const struct ways_set *slots = &file->known->slots;
    uint32_t at = place_of(slots->all, slots->count, address < 7 ? 0 : address - 7);
    unsigned known = 0;

    known |= put_all(file->constants, file->constants_count, word, address);
    if (run->is_way)
        known |= put_all(file->variables, file->variables_count, word, address);
    if (run->is_way && ways_holds(&file->foreign, address < 7 ? 0 : address - 7, address + 7)) {
        *word = ELSEWHERE + address; /* of a slot that begins there */
        return ways_holds(&file->foreign, address, address) ? 0xff : 0;
    }
    for (; at < slots->count && slots->all[at] <= address + 7; at++)
        known |= put_bytes(word, address, slots->all[at],
                           (const uint8_t *)&file->known->pointers[at], 8);
    return known;
}

/* Whether memory is zero at first. */
static int
is_zero(const struct executed *file, uint64_t address)
{
    return place_of(file->zeros.all, file->zeros.count, address + 1) % 2;
}

/* Whether libgcc's __cpu_model is there. */
static int
is_model(const struct executed *file, uint64_t address)
{
    return ways_holds(&file->known->models, address < 15 ? 0 : address - 15, address + 7);
}

/* Whether a word that a way has not written to may tell of the CPU: where not all is known of what
 * was done before, static memory does that is kept for answers, and what the run was given. */
static int
is_doubtful(const struct execution *run, uint64_t address)
{
    const struct ways_known *known = run->file->known;

    if (!run->is_way || (is_of_file(address) && is_model(run->file, address)))
        return 0;
    if (!is_of_file(address)) /* what a thread's own memory holds at first is not known */
        return run->is_uncertain || address - (THREAD - (1ull << 30)) < 1ull << 31;
    if (ways_holds(&known->foreign, address, address + 7))
        return 1;
    return run->is_uncertain && ways_kept_labels(known, address, 8) != 0;
}

int
memory_doubts(const struct execution *run, uint64_t address, unsigned size)
{
    int doubts = 0;

    for (unsigned done = 0; done < size + (address & 7); done += 8) {
        uint64_t word = (address & ~7ull) + done;
        const struct execute_word *written = memory_written(run->memory, word);
        unsigned wanted = 0;

        for (unsigned at = 0; at < 8; at++)
            wanted |= (unsigned)(word + at - address < size) << at;
        doubts |= written && written->doubtful & wanted;
        doubts |= wanted & ~(written ? (unsigned)written->written : 0u) && is_doubtful(run, word);
    }
    return doubts;
}

/* Of a word those bytes that are wanted; returns which are known. `fresh`: which of the others this
 * run has not written. Beside bytes that are remembered all others of their word are taken to be
 * what they were at first. */
static unsigned
look_up(const struct execution *run, uint64_t address, unsigned wanted, uint64_t *word,
        unsigned *fresh)
{
    const struct execute_word *written = memory_written(run->memory, address);
    const struct execute_remembered *before;
    unsigned known = 0, more;
    uint64_t value = 0;

    *word = 0;
    *fresh = 0;
    if (written) {
        known = written->known;
        *word = written->value & widened(known);
        wanted &= ~(unsigned)written->written;
    }
    if (wanted && (address - HEAP) / ROOM < 64 && run->zeroed >> (address - HEAP) / ROOM & 1)
        return known | wanted;
    if (!wanted || (!is_of_file(address) && !run->is_way) || is_doubtful(run, address))
        return known;
    before = memory_remembered(run->file, address);
    if (before && run->is_way && !is_model(run->file, address))
        before = NULL;
    if (before) {
        *word |= before->values[run->model] & widened(before->known & wanted);
        known |= before->known & wanted;
        wanted &= ~(unsigned)before->known;
    }
    if (wanted) {
        more = held(run, address, &value) & wanted;
        *word |= value & widened(more);
        known |= more;
        *fresh = is_zero(run->file, address) ? wanted & ~more : 0;
        if ((before && before->known) || run->is_way)
            known |= *fresh & ~(before ? (unsigned)before->mixed : 0u);
    }
    return known;
}

struct number
memory_load(const struct execution *run, uint64_t address, unsigned size)
{
    int is_clear = ways_holds(&run->file->clear, address, address);
    struct number made = {0, 1};

    for (unsigned done = 0; done < size;) {
        unsigned skip = (address + done) & 7,
                 take = 8 - skip < size - done ? 8 - skip : size - done;
        unsigned wanted = ((1u << take) - 1) << skip, fresh;
        uint64_t word;
        unsigned known = look_up(run, (address + done) & ~7ull, wanted, &word, &fresh);

        if (is_clear)
            known |= fresh;
        made.is_known &= !(wanted & ~known);
        made.value |= (word & widened(wanted)) >> 8 * skip << 8 * done;
        done += take;
    }
    return made;
}

int
memory_store(struct execution *run, uint64_t address, unsigned size, struct number value)
{
    unsigned first = address & 7;

    for (unsigned done = 0; done < size;) {
        unsigned skip = (address + done) & 7,
                 take = 8 - skip < size - done ? 8 - skip : size - done;
        unsigned bytes = ((1u << take) - 1) << skip;
        struct execute_word *word = word_at(run->memory, (address + done) & ~7ull);

        if (!word)
            return 0;
        word->value &= ~widened(bytes);
        word->value |= (value.value >> 8 * done << 8 * skip) & widened(bytes);
        word->written |= (uint8_t)bytes;
        word->known = (uint8_t)(value.is_known ? word->known | bytes : word->known & ~bytes);
        word->doubtful = (uint8_t)(run->doubts ? word->doubtful | bytes : word->doubtful & ~bytes);
        if (!done && (word->sizes >> 4 * first & 15) < size)
            word->sizes = (word->sizes & ~(15u << 4 * first)) | size << 4 * first;
        done += take;
    }
    return 1;
}
