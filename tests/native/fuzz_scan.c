/* The scanner on any bytes at all: it reads none before or behind them, every length is possible,
 * and what it finds does not depend on how the work is cut.
 *
 * With libFuzzer (clang -fsanitize=fuzzer, -DWITH_LIBFUZZER) or alone: fuzz_scan ROUNDS SEED. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "asking.h"
#include "execute.h"
#include "explore.h"
#include "functions.h"
#include "links.h"
#include "relocate.h"
#include "scan.h"
#include "ways.h"

enum { MOST_BYTES = 1 << 14, MOST_RANGES = 64 };

#define HOLDS(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The bytes between two pages that cannot be read, as near to one of them as can be. */
static const uint8_t *
guarded(const uint8_t *data, size_t size, int at_end)
{
    static uint8_t *area;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (area == NULL) {
        area = mmap(NULL, MOST_BYTES + 2 * page, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        HOLDS(area != MAP_FAILED);
        HOLDS(mprotect(area, page, PROT_NONE) == 0);
        HOLDS(mprotect(area + page + MOST_BYTES, page, PROT_NONE) == 0);
    }
    return memcpy(area + page + (at_end ? MOST_BYTES - size : 0), data, size);
}

/* The operands of an instruction: no register but those that there are. */
static void
read_operands(const uint8_t *code, size_t size, unsigned length, unsigned kind)
{
    struct operation made;

    HOLDS(scan_operation(code, size, 0x400000, &made) == made.length);
    HOLDS(made.length == length || made.class == 0);
    HOLDS(made.class == 0 || made.class == kind);
    for (unsigned at = 0; at < MOST_OPERANDS; at++)
        HOLDS(made.registers[at] < REGISTERS || made.registers[at] == NO_REGISTER);
    HOLDS(made.base < 16 || made.base == NO_REGISTER);
    HOLDS(made.index < MASKS || made.index == NO_REGISTER);
    HOLDS(!made.has_memory || made.count > 0);
}

static void
decode_everywhere(const uint8_t *code, size_t size)
{
    static uint8_t lengths[MOST_BYTES], kinds[MOST_BYTES];
    size_t number, sum = 0;

    for (size_t at = 0; at < size; at++) {
        uint32_t leaf = scan_decode_last(code + at, size - at);
        unsigned length = leaf & LEAF_LENGTH, flags;

        HOLDS(length >= 1 && length <= LONGEST && length <= size - at);
        HOLDS(LEAF_CLASS(leaf) < scan_classes_number);
        read_operands(code + at, size - at, length, LEAF_CLASS(leaf));
        flags = scan_classes[LEAF_CLASS(leaf)].flags;
        HOLDS(!(leaf & LEAF_LOUD) == !!(flags & CLASS_QUIET));
        HOLDS(!LEAF_DISTANCE(leaf) == !(flags & CLASS_NEAR));
        HOLDS(!(leaf & LEAF_NOTED) == (flags == CLASS_QUIET));
    }
    number = scan_decode_all(code, size, lengths, kinds);
    for (size_t at = 0; at < number; at++)
        sum += lengths[at];
    HOLDS(sum == size);
}

struct answer {
    struct scan_tally tally;
    scan_mask pages[MOST_BYTES / 4096 + 2], functions[MOST_RANGES];
    struct scan_listed listed[MOST_RANGES * MOST_FEATURES];
};

static void
scan_part(const uint8_t *code, size_t size, uint64_t address, const struct scan_range *ranges,
          uint32_t count, struct answer *answer)
{
    static struct scan_space space;
    struct scan_output output = {answer->pages,
                                 answer->functions + answer->tally.functions,
                                 answer->listed + answer->tally.listed,
                                 {~0ull, ~0ull}};
    uint32_t functions = answer->tally.functions, listed = answer->tally.listed;

    answer->tally.functions = answer->tally.listed = 0;
    cpuprobe_scan(code, size, address, ranges, count, &answer->tally, &output, &space);
    HOLDS(answer->tally.functions <= count);
    HOLDS(answer->tally.listed <= count * scan_features);
    answer->tally.functions += functions;
    answer->tally.listed += listed;
    answer->tally.base += count;
}

/* As two threads' answers are made one. */
static void
join(struct answer *one, const struct answer *other)
{
    cpuprobe_join(&one->tally, &other->tally);
    cpuprobe_join_pages(one->pages, other->pages, sizeof one->pages / sizeof *one->pages);
    one->tally.functions += other->tally.functions;
    one->tally.listed += other->tally.listed;
}

static void
compare(const struct answer *one, const struct answer *other)
{
    const struct scan_tally *a = &one->tally, *b = &other->tally;

    HOLDS(a->discarded == b->discarded && a->swept == b->swept && a->unknown == b->unknown);
    HOLDS(a->signs == b->signs && a->functions == b->functions && a->listed == b->listed);
    HOLDS(memcmp(one->pages, other->pages, sizeof one->pages) == 0);
    for (unsigned feature = 0; feature < MOST_FEATURES; feature++) {
        const struct scan_use *use = &a->uses[feature], *same = &b->uses[feature];

        HOLDS(memcmp(use->instructions, same->instructions, sizeof use->instructions) == 0);
        HOLDS(use->functions == same->functions && use->places == same->places);
        HOLDS(use->places == (use->functions < MOST_PLACES ? use->functions : MOST_PLACES));
        for (unsigned at = 0; at < use->places; at++) {
            HOLDS(use->place[at].address == same->place[at].address);
            HOLDS(at == 0 || use->place[at].address > use->place[at - 1].address);
        }
    }
}

/* The ways through a function, twice with all that is called and answers, as the bytes have it. */
static void
follow_ways(const uint8_t *code, size_t size, uint64_t address, const struct scan_range *range)
{
    static struct ways_space space;
    static uint64_t sets[3][64], slots[64], pointers[64];
    static struct ways_known known;
    const struct ways_summary *made = &space.summary;

    known = (struct ways_known){
        .convention = size & 2 ? &ways_windows : &ways_system_v,
        .statics = {sets[0], 0, 64},
        .models = {slots, 64, 64},
        .regions = {sets[1], 0, 64},
        .fields = {sets[2], 0, 64},
        .slots = {slots, 64, 64},
        .pointers = pointers,
    };
    for (unsigned at = 0; at < 64; at++) {
        slots[at] = address + 8 * at;
        pointers[at] = address + code[at % size];
    }
    known.foreign = known.slots;
    for (unsigned at = 0; at < sizeof known.bits; at++)
        known.bits[at / 32][at % 32] = (code[at % size] & 15) % 13;
    if (!ways_begin(&space, &known, code, size, address, range->start, range->end))
        return;
    for (unsigned round = 0; round < 2; round++) {
        for (uint32_t at = 0; at < space.targets; at++)
            space.answer[at] = code[at % size] | (uint32_t)code[at * 7 % size] << 9 |
                               (code[at * 5 % size] & 1   ? FACT_NUMBER + 0x300u
                                : code[at * 5 % size] & 2 ? FACT_BITS + at
                                                          : 0)
                                   << 16;
        ways_finish(&space, &known, 20000, size & 3);
        HOLDS(space.targets <= MOST_CALLS && space.used <= ARENA);
        HOLDS(made->calls <= MOST_CALLS && made->escapes <= MOST_CALLS);
        HOLDS(made->needs <= MOST_FEATURES && made->statics <= MOST_KEPT);
        for (uint32_t at = 0; at < made->calls; at++)
            HOLDS(made->call[at].site >= range->start && made->call[at].site < range->end);
        for (uint32_t at = 0; at < made->statics; at++)
            ways_keep(&known, &known.statics, made->static_memory[at]);
        HOLDS(known.facts <= MOST_FACTS);
        HOLDS(known.statics.count <= 64 && known.regions.count <= 64);
    }
}

/* Sorted, as two lists. */
static void
sorted(struct links *links)
{
    static struct link all[MOST_BYTES], spare[MOST_BYTES];
    uint64_t half = links->count / 3;
    struct links lists[2] = {{links->all, half, half}, {links->all + half, links->count - half, 0}};

    HOLDS(links->count <= links->room);
    links_sort(lists, 2, all, spare);
    memcpy(links->all, all, links->count * sizeof *all);
    for (uint64_t at = 1; at < links->count; at++)
        HOLDS(links->all[at].key >= links->all[at - 1].key);
}

/* Grouped by their keys, as sorting has them. */
static void
grouped(const struct links *links)
{
    static uint64_t first[MOST_RANGES + 2], values[MOST_BYTES], keys[MOST_BYTES], same[MOST_BYTES];

    links_group(links, 1, MOST_RANGES, first, values);
    sorted((struct links *)links);
    links_part(links->all, links->count, keys, same);
    HOLDS(first[0] == 0 && first[MOST_RANGES] == links->count);
    for (uint64_t key = 0; key < MOST_RANGES; key++)
        for (uint64_t at = first[key]; at < first[key + 1]; at++)
            HOLDS(keys[at] == key && same[at] == values[at]);
}

/* Whether a byte begins something that refers to one of some functions, asked of each alone: 1 for
 * a call, 2 for LEA, 4 for what asks. */
static unsigned
refers(const uint8_t *code, size_t left, uint64_t site, const uint64_t *functions, uint64_t *target)
{
    unsigned is_long = code[0] == 0x0f && left > 1 && (code[1] & 0xf0) == 0x80;
    int32_t distance;

    if (left >= 2 && code[0] == 0x0f &&
        (code[1] == 0xa2 || (left >= 3 && code[1] == 1 && code[2] == 0xd0)))
        return 4;
    if (left >= 7 && (code[0] == 0x48 || code[0] == 0x4c) && code[1] == 0x8d &&
        (code[2] & 0xc7) == 5)
        return 2;
    if (left >= 2 && code[0] == 0xeb) {
        *target = site + 2 + (uint64_t)(int64_t)(int8_t)code[1];
    } else {
        if (left < 5 + is_long || !(is_long || code[0] == 0xe8 || code[0] == 0xe9))
            return 0;
        memcpy(&distance, code + 1 + is_long, sizeof distance);
        *target = site + 5 + is_long + (uint64_t)(int64_t)distance;
    }
    for (unsigned at = 0; at < MOST_RANGES; at++)
        if (functions[at] == *target)
            return 1;
    return 0;
}

/* Which bytes may be CPUID or XGETBV: those of one, as each function is read from its start on, all
 * behind bytes that are no instruction up to the next function, and all before the first. */
static void
may_ask(const uint8_t *code, size_t size, uint64_t address, const uint64_t *functions,
        uint8_t *asks)
{
    memset(asks, 1, size);
    for (unsigned number = 0; number < MOST_RANGES; number++) {
        uint64_t end = number + 1 < MOST_RANGES ? functions[number + 1] - address : size;

        for (uint64_t at = functions[number] - address; at < end && at < size;) {
            uint32_t leaf = scan_decode_last(code + at, size - at);
            unsigned flags = scan_classes[LEAF_CLASS(leaf)].flags;

            if (flags & CLASS_INVALID)
                break;
            for (unsigned left = leaf & LEAF_LENGTH; left && at < end; left--)
                asks[at++] = !!(flags & (CLASS_CPUID | CLASS_XGETBV));
        }
    }
}

/* What some functions answer, with all that they call; names tell what the bytes have. */
static void
ask_around(const uint8_t *code, size_t size, uint64_t address, const struct links_known *links,
           const uint64_t *limits)
{
    enum { ROOM = 64 };
    static struct ways_space spaces[MOST_DEPTH + 1];
    static uint64_t sets[4][MOST_BYTES];
    static struct asked asked[ROOM];
    static struct asking file;
    const uint8_t tables = code[0] & 8;
    static struct ways_known known;
    unsigned rounds = 0;

    known = (struct ways_known){
        .statics = {sets[0], 0, 64}, .regions = {sets[1], 0, 64}, .fields = {sets[2], 0, 64}};

    memset(asked, 0, sizeof asked);
    for (unsigned at = 0; at < 64; at++)
        sets[3][at] = address + 8 * at;
    memset(&file, 0, sizeof file);
    file.known = &known;
    file.convention = &ways_system_v;
    file.links = links;
    file.limits = limits;
    file.code = &code;
    file.tables = &tables;
    file.imports = (struct ways_set){sets[3], code[0] & 63, 64};
    file.main = limits[0];
    file.go_start = address + code[size / 2];
    file.go_end = address + size;
    file.asked = asked;
    file.room = ROOM;
    file.most_steps = 2000;
    file.left = 20000;
    for (unsigned number = 0; number < links->functions.count && rounds < 100; number++) {
        uint64_t start = links->functions.all[number];

        if (limits[number] <= start)
            continue;
        while (rounds++ < 100 &&
               asking_look(&file, start, limits[number], start * UINT64_C(0x9e3779b97f4a7c15)) ==
                   ASKING_WANTS) {
            for (unsigned at = 0; file.lacks && at <= MOST_DEPTH; at++)
                file.spaces[at] = &spaces[at];
            HOLDS(file.lacks || file.wants);
            HOLDS(file.wants <= MOST_WANTED);
            for (uint32_t at = 0; at < file.wants; at++)
                asking_tell(&file, file.wanted[at], code[at % size], code[at * 3 % size] & 31);
        }
        HOLDS(file.count < ROOM);
        asking_answers(&file, start, code[number % size] & ANSWERS);
    }
    asking_forget(&file);
}

/* Ways are followed from where the bytes begin, and from some more. */
static void
explore_all(struct executed *file, uint64_t address, size_t size)
{
    static struct explore_space space;
    uint64_t roots[] = {address, address + size / 2, address + size, address + 7};

    for (unsigned turn = 0; turn < 4; turn++) {
        struct explored all = {.file = file,
                               .space = &space,
                               .first = roots,
                               .firsts = turn,
                               .roots = roots,
                               .count = 4,
                               .model = 2 * turn,
                               .is_library = turn & 1,
                               .wanted = {UINT64_MAX, turn},
                               .left = 2000,
                               .main = address};

        explore(&all);
        HOLDS(all.left <= 2000 && space.ways <= MOST_WAYS);
        HOLDS(!all.is_met || all.feature < MOST_KNOWN);
    }
}

/* Functions are executed, of which the bytes are constants as well, and tell what CPUID answers. */
static void
execute_all(const uint8_t *code, size_t size, uint64_t address, const struct links_known *links)
{
    enum { STEPS = 20000, MOST = 2000 };
    static struct execute_space space;
    static struct execute_model models[MODELS];
    static uint64_t slots[64], pointers[64], variables[2];
    static struct ways_known known;
    static uint8_t does[64];
    static struct executed file;
    const struct execute_call *call;
    struct execute_constants constants = {code, address + 4096 * (code[0] & 1), size};

    known = (struct ways_known){
        .slots = {slots, 64, 64},
        .pointers = pointers,
        .models = {variables, 2, 2},
    };
    variables[0] = address + code[size / 3];
    variables[1] = address + 4096;
    for (unsigned at = 0; at < 64; at++) {
        does[at] = code[at * 3 % size] & 15;
        slots[at] = address + 4096 + 5 * at;
        pointers[at] = address + code[at % size];
    }
    for (unsigned model = 0; model < MODELS; model++) {
        models[model].count = code[1] % (MOST_LEAVES + 1);
        models[model].xcr0 = code[model % size];
        for (unsigned at = 0; at < models[model].count; at++)
            models[model].leaves[at] = (struct execute_leaf){
                at & 7, at & 8 ? ANY_SUBLEAF : 0, code[at % size] & 15, {code[model % size], at}};
    }
    file = (struct executed){.links = links,
                             .code = &code,
                             .known = &known,
                             .convention = &ways_system_v,
                             .zeros = {variables, 2, 2},
                             .constants = &constants,
                             .constants_count = 1,
                             .variables = &constants,
                             .variables_count = code[0] & 1,
                             .foreign = {slots, code[0] & 63, 64},
                             .does = does,
                             .clear = {slots + 32, 32, 32},
                             .models = models,
                             .space = &space,
                             .left = STEPS,
                             .most = MOST};
    executed_begin(&file);
    for (size_t at = 0; at < size && file.left > 0; at++) {
        executed_look(&file, address + at);
        HOLDS(file.count <= MOST_FOUND && known.facts <= MOST_FACTS);
        for (uint32_t each = 0; each < file.count; each++)
            HOLDS(is_of_file(file.found[each].address) && file.found[each].is_known);
        HOLDS(executed_refuses(&file, address + at) <= TIER_TOP);
        call = executed_call(
            &file, &(struct execute_call){.target = address + at,
                                          .arguments = {code[at], address + code[at], FRAME + size},
                                          .given = code[at] & 7});
        HOLDS(!call || call->puts <= MOST_PUT);
    }
    HOLDS(file.left <= STEPS);
    explore_all(&file, address, size);
}

/* How the bytes refer to each other, as code, relocations, symbols and words. */
static void
find_links(const uint8_t *code, size_t size, uint64_t address)
{
    static struct links_bucket buckets[2][MOST_BUCKETS + 2];
    static uint64_t nowhere[MOST_RANGES];
    static struct link found[4][MOST_BYTES];
    static uint8_t asks[MOST_BYTES];
    struct links calls = {found[0], 0, MOST_BYTES}, taken = {found[1], 0, MOST_BYTES};
    struct links asking = {found[2], 0, MOST_BYTES}, turned = {found[3], 0, MOST_BYTES};
    struct links_range range = {address, address + size};
    uint64_t starts[MOST_RANGES], ends[MOST_RANGES], limits[MOST_RANGES], at = address, target;
    uint64_t half = size / 2 & ~63ull, call = 0, lea = 0, asked = 0;
    struct links_known known = {.code = &range, .ranges = 1, .is_fixed = code[0] & 1};

    for (unsigned number = 0; number < MOST_RANGES; number++) {
        starts[number] = at;
        ends[number] = code[number % size] & 2 ? 0 : at + code[number % size];
        at += 1u + code[number % size] * (code[0] ? 1ull : 1ull << 40);
    }
    known.functions = known.slots = (struct links_index){.all = starts, .count = MOST_RANGES};
    known.functions.buckets = buckets[0];
    known.slots.buckets = buckets[1];
    memset(nowhere, 0xff, sizeof nowhere); /* no function begins there */
    known.pointers = nowhere;
    links_index(&known.functions);
    links_index(&known.slots);
    links_limits(&known, ends, limits);
    for (unsigned number = 0; number < MOST_RANGES; number++)
        HOLDS(limits[number] <= address + size);
    ask_around(code, size, address, &known, limits);
    execute_all(code, size, address, &known);
    links_search(code, size, 0, half, address, &known, &calls, &taken, &asking);
    links_search(code, size, half, size, address, &known, &calls, &taken, &asking);
    may_ask(code, size, address, starts, asks);
    for (size_t each = 0; each < size; each++)
        switch (refers(code + each, size - each, address + each, starts, &target)) {
        case 1:
            HOLDS(call < calls.count && calls.all[call].value == address + each);
            HOLDS(starts[calls.all[call++].key] == target);
            break;
        case 2:
            while (lea < taken.count && taken.all[lea].value < address + each)
                lea++;
            HOLDS(lea < taken.count && taken.all[lea].value == address + each);
            break;
        case 4:
            if (!asks[each])
                break;
            HOLDS(asked < asking.count && asking.all[asked++].value == address + each);
        }
    HOLDS(call == calls.count && asked == asking.count);
    taken.count = turned.count = 0;
    links_reads(code, half, size, address, 0, UINT64_MAX, &taken);
    links_reads(code, 0, half, address, address, address + size, &turned);
    for (uint64_t each = 0; each < turned.count; each++)
        HOLDS(turned.all[each].key - address < size && turned.all[each].value - address < half);
    HOLDS(taken.count <= size / 2);
    taken.count = turned.count = 0;
    links_stubs(code, size, address, &taken);
    links_entered(&known, &taken, &turned);
    sorted(&turned);
    turned.count = 0;
    links_turn(&known, &turned);
    grouped(&calls);
    sorted(&turned);
    sorted(&taken);
    calls.count = taken.count = turned.count = 0;
    links_words(code, size, address, code[0] & 4, &known, &taken);
    links_relocations(code, size, code, size, &calls, &taken, &turned);
    sorted(&calls);
    HOLDS(links_last(calls.all, calls.count) <= calls.count);
}

/* What the bytes are as Go's table of functions, and whose names have words. */
static void
read_go(const uint8_t *table, size_t size, const struct links_range *ranges)
{
    static const uint8_t words[] = "a\0ab\0\1\2\0c";
    static struct function made[MOST_RANGES];
    static struct link links[MOST_RANGES];
    struct functions found = {made, 0, MOST_RANGES};
    struct links named = {links, 0, MOST_RANGES};
    struct go_table go = {table, ranges, size, 0, 0, ranges[0].start, table[0] * 3, table[1],
                          8,     0,      2,    0, 0};
    uint64_t count;

    go.width = size & 1 ? 8 : 16;
    go.rows = table[0] % size;
    if (size < go.rows + go.width + go.width / 2)
        return;
    go.count = (size - go.rows - go.width / 2) / go.width;
    if (!functions_go(&go, &found))
        return;
    HOLDS(found.count <= go.count && go.start <= go.end);
    count = found.count < MOST_RANGES ? found.count : MOST_RANGES;
    for (uint64_t at = 0; at < count; at++) {
        const struct links_range *range = &ranges[made[at].section];

        HOLDS(made[at].start >= range->start && made[at].start < range->end);
        HOLDS(made[at].end >= made[at].start && made[at].name <= size);
    }
    functions_named(made, count, table, size, 0, words, sizeof words, &named);
    HOLDS(named.count <= count);
    for (uint64_t at = 0; at < named.count; at++)
        HOLDS(links[at].value && links[at].value < 16);
}

/* Functions in order, and how many there are. */
static uint64_t
settled(struct functions *made)
{
    static struct function spare[MOST_RANGES];
    uint64_t count = made->count < made->room ? made->count : made->room;

    count = functions_settle(made->all, spare, count);
    for (uint64_t at = 1; at < count; at++) {
        const struct function *one = &made->all[at - 1], *other = &made->all[at];

        HOLDS(one->section < other->section ||
              (one->section == other->section && one->start < other->start));
    }
    return count;
}

/* The code cut into some functions and data: each byte is one thing, and nothing else is. */
static void
cut_code(const struct function *functions, uint64_t count, const uint8_t *code, size_t size,
         uint64_t address)
{
    static struct scan_range known[MOST_RANGES], gaps[2 * MOST_RANGES + 1];
    static uint64_t before[2][2 * MOST_RANGES + 1];
    struct links_range objects[MOST_RANGES];
    struct functions_cut cut = {known, gaps, before[0], before[1], .work = code[0]};
    uint64_t data = 0, sum = 0, at = address, number = 0;

    for (; data < MOST_RANGES && at < address + size; data++) {
        objects[data].start = at + code[(at - address) / 2];
        objects[data].end = objects[data].start + 1 + code[at - address] % 24;
        at = objects[data].end + 1;
        if (objects[data].end > address + size)
            break;
    }
    functions_cut(functions, count, code, size, address, objects, data, &cut);
    HOLDS(cut.knowns <= count && cut.unknowns <= count + data + 1);
    for (at = address, number = 0; number < cut.knowns; at = known[number++].end) {
        HOLDS(known[number].start >= at && known[number].end > known[number].start);
        HOLDS(before[0][number] == code[0] + sum);
        sum += known[number].end - known[number].start;
    }
    HOLDS(at <= address + size && cut.bytes[BY_SYMBOL] + cut.bytes[BY_UNWIND] == sum);
    for (at = address, number = 0; number < cut.unknowns; at = gaps[number++].end) {
        HOLDS(gaps[number].start >= at && gaps[number].end > gaps[number].start);
        HOLDS(before[1][number] == code[0] + sum);
        sum += gaps[number].end - gaps[number].start;
    }
    HOLDS(at <= address + size && cut.work == code[0] + sum && cut.large <= cut.knowns);
    HOLDS(sum + cut.padding + cut.data == size);
}

/* The bytes with what makes most of them symbols of code. */
static void
shape_symbols(uint8_t *rows, size_t size, uint64_t address)
{
    for (size_t at = 0; at + 24 <= size; at += 24) {
        uint64_t value = address + rows[at + 8] + 64 * rows[at + 9];

        rows[at + 4] &= 0x1f;
        rows[at + 6] &= 7;
        rows[at + 7] = 0;
        memcpy(rows + at + 8, &value, 8);
    }
}

/* The bytes with what makes most of them unwind entries, most of them of functions in code. */
static void
shape_unwind(uint8_t *data, size_t size)
{
    static const uint8_t cie[] = {1, 'z', 'L', 'R', 0, 1, 0x78, 16, 2, 0x1b, 0x1b};
    uint32_t last = 0;

    for (uint32_t at = 0; at + 64 < size;) {
        uint32_t length = 12 + data[at] % 16, reference = at + 4 - last;
        uint32_t relative = data[at + 8] * 8u - (at + 8);

        if (data[at + 1] % 8 == 0 || at == 0) {
            reference = 0;
            last = at;
            if (data[at + 2] & 3)
                memcpy(data + at + 8, cie, sizeof cie);
        } else if (data[at + 2] & 3) {
            memcpy(data + at + 8, &relative, 4);
            memset(data + at + 13, 0, 3);
            data[at + 16] = 4;
        }
        memcpy(data + at, &length, 4);
        memcpy(data + at + 4, &reference, 4);
        at += length + 4;
    }
}

/* The bytes with what makes them rows of Go's table that are in order. */
static void
shape_go(uint8_t *data, size_t size)
{
    uint64_t start = 0;
    size_t width = size & 1 ? 8 : 16;

    for (size_t at = data[0] % size; at + width / 2 <= size; at += width) {
        unsigned step = data[at] % 64;

        memcpy(data + at, &start, width / 2);
        start += step;
    }
}

/* What symbols tell. */
static void
read_symbols(const uint8_t *rows, size_t size, const struct links_range *ranges)
{
    static struct function made[2][MOST_RANGES];
    static struct link links[4][MOST_RANGES];
    static const uint32_t codes[8] = {NO_CODE, 0, 1, 0, NO_CODE, 1, 0, 0};
    struct symbols symbols = {rows, rows, size, size, codes,   ranges, (const uint8_t *)"\1\0\2\3",
                              8,    2,    5,    7,    size & 1};
    struct symbols_found found = {{made[0], 0, MOST_RANGES},  {made[1], 0, MOST_RANGES},
                                  {links[0], 0, MOST_RANGES}, {links[1], 0, MOST_RANGES},
                                  {links[2], 0, MOST_RANGES}, 0};
    struct links starts = {links[3], 0, MOST_RANGES};
    uint64_t count;

    functions_symbols(&symbols, &found);
    HOLDS(found.functions.count + found.objects.count + found.undefined.count +
              found.answers.count <=
          size / 24);
    count = settled(&found.functions);
    for (uint64_t at = 0; at < count; at++) {
        const struct links_range *range = &ranges[made[0][at].section];

        HOLDS(made[0][at].start >= range->start && made[0][at].start < range->end);
        HOLDS(made[0][at].end == 0 || made[0][at].end > made[0][at].start);
    }
    links_stubs(rows, size, ranges[0].start, &found.answers);
    functions_links(made[0], count, &found.answers, &starts);
    HOLDS(starts.count >= count);
    starts.count = 0;
    HOLDS(functions_relocations(rows, size, rows[0], ranges[0].start, ranges[0].end, &starts) <=
              size / 24 &&
          starts.count <= size / 24);
}

/* Functions, as the bytes have it: of symbols, and of unwind entries. */
static void
find_functions(const uint8_t *code, size_t size, uint64_t address)
{
    static struct function made[MOST_RANGES];
    struct links_range ranges[2] = {{address, address + size}, {address + size + 64, ~0ull}};
    struct functions functions = {made, 0, MOST_RANGES};
    uint8_t *shaped = malloc(size);
    uint64_t count;

    HOLDS(shaped != NULL);
    read_symbols(code, size, ranges);
    shape_symbols(memcpy(shaped, code, size), size, address);
    read_symbols(shaped, size, ranges);
    functions_unwind(code, size, address, ranges, 2, &functions);
    functions.count = 0;
    shape_unwind(memcpy(shaped, code, size), size);
    functions_unwind(shaped, size, address, ranges, 2, &functions);
    read_go(code, size, ranges);
    shape_go(memcpy(shaped, code, size), size);
    read_go(shaped, size, ranges);
    free(shaped);
    count = settled(&functions);
    while (count && made[count - 1].section)
        count--;
    for (uint64_t at = 0; at < count; at++)
        HOLDS(made[at].start >= address && made[at].start < address + size &&
              made[at].end > made[at].start);
    cut_code(made, count, code, size, address);
    for (count = 0; count < MOST_RANGES; count++)
        made[count] = (struct function){.start = address + 3 * count * (1 + code[0] % 8),
                                        .source = 1 + (code[count % size] & 1)};
    cut_code(made, count, code, size, address);
}

/* The bytes as a table of relocations, of kinds that there are and of any: each changes no bytes
 * but those that it is about, all at once do what each does alone, and no row is made that has no
 * room. */
static void
relocate_all(const uint8_t *code, size_t size, uint64_t address)
{
    enum { SYMBOLS = 16, ROW = 24, LENGTH = 64 };
    static const uint8_t kinds[] = {1, 2, 4, 8, 9, 10, 11, 24, 25, 31, 41, 42};
    static uint64_t rows[3 * MOST_BYTES / ROW], first[3];
    struct relocate_symbol symbols[SYMBOLS];
    struct relocate_made all = {rows, 0, sizeof rows / ROW, 0, 0}, data = {first, 0, 1, 0, 0};
    struct relocate_made one = {rows, 0, 0, 0, 0};
    size_t length = 1 + code[1] % (LENGTH - 1);
    uint8_t *table = malloc(size), *section = malloc(length), *same = malloc(length);
    uint8_t before[LENGTH];

    HOLDS(table != NULL && section != NULL && same != NULL);
    memcpy(table, code, size);
    for (size_t at = 0; at + ROW <= size && code[0] & 3; at += ROW) {
        memset(table + at + 1, 0, 7);
        table[at + 8] = kinds[table[at + 8] % sizeof kinds];
        memset(table + at + 9, 0, 3);
        table[at + 12] %= SYMBOLS + 1;
        memset(table + at + 13, 0, 3);
    }
    for (unsigned at = 0; at < SYMBOLS; at++)
        symbols[at] = (struct relocate_symbol){address + 8ull * code[at % size],
                                               address + 4096 + 8 * at, code[at % size] & 3};
    relocate(table, size, symbols, SYMBOLS, NULL, length, address, &all);
    relocate(table, size, symbols, SYMBOLS, NULL, length, address, &data);
    HOLDS(all.count == data.count && all.count <= size / ROW && !all.absolute && !all.odd);
    HOLDS(!all.count || memcmp(rows, first, ROW) == 0);
    memset(section, code[0], length);
    memcpy(section, code, length < size ? length : size);
    memcpy(same, section, length);
    all.count = 0;
    relocate(table, size, symbols, SYMBOLS, same, length, address, &all);
    for (size_t at = 0; at + ROW <= size; at += ROW) {
        uint64_t place;

        memcpy(before, section, length);
        memcpy(&place, table + at, sizeof place);
        relocate(table + at, ROW, symbols, SYMBOLS, section, length, address, &one);
        for (size_t byte = 0; byte < length; byte++)
            HOLDS(section[byte] == before[byte] || (byte >= place && byte - place < 8));
    }
    HOLDS(memcmp(section, same, length) == 0);
    HOLDS(one.count == all.count && one.absolute == all.absolute && one.odd == all.odd);
    free(table);
    free(section);
    free(same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct answer whole, halves, other;
    struct scan_range ranges[MOST_RANGES];
    const uint8_t *code;
    uint64_t address, swept = 0;
    uint32_t count = 0, half;

    if (size < 2 || size > MOST_BYTES)
        return 0;
    address = data[1] & 7 ? (uint64_t)data[0] << 4 | (uint64_t)data[1] << 40 : 0;
    code = guarded(data, size, data[0] & 1);
    decode_everywhere(code, size);
    find_links(code, size, address);
    find_functions(code, size, address);
    relocate_all(code, size, address);
    /* Functions, gaps and what is neither, as the bytes have it. */
    for (size_t at = 0; at < size && count < MOST_RANGES; count++) {
        unsigned step = data[at] + 1u + (data[at] & 7 ? 0 : 2048);

        ranges[count] =
            (struct scan_range){address + at, address + at + step, data[at] & 3, data[at] >> 7};
        if (ranges[count].end > address + size && data[at] & 16)
            ranges[count].end = address + size;
        if (ranges[count].source == NO_FUNCTION && ranges[count].end <= address + size)
            swept += ranges[count].end - ranges[count].start;
        follow_ways(code, size, address, &ranges[count]);
        at += step;
    }
    memset(&whole, 0, sizeof whole);
    memset(&halves, 0, sizeof halves);
    scan_part(code, size, address, ranges, count, &whole);
    HOLDS(whole.tally.swept + whole.tally.unknown == swept);
    half = count / 2;
    scan_part(code, size, address, ranges, half, &halves);
    scan_part(code, size, address, ranges + half, count - half, &halves);
    compare(&whole, &halves);
    memset(&halves, 0, sizeof halves);
    memset(&other, 0, sizeof other);
    scan_part(code, size, address, ranges, half, &halves);
    other.tally.base = half;
    scan_part(code, size, address, ranges + half, count - half, &other);
    join(&halves, &other);
    compare(&whole, &halves);
    return 0;
}

#ifndef WITH_LIBFUZZER
static uint64_t state;

static uint32_t
random_number(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

/* Bytes that are more often an instruction beyond x86-64-v1, or a branch, than by chance. */
static size_t
fill(uint8_t *data)
{
    static const uint8_t starts[] = {0xc4, 0xc5, 0x62, 0x0f, 0x66, 0xf2, 0xf3, 0x48, 0x8f, 0xd5,
                                     0x74, 0xeb, 0xe9, 0xff, 0xc3, 0x90, 0x90, 0x06, 0xf0, 0x67};
    size_t size = 2 + random_number() % (random_number() & 3 ? 256 : MOST_BYTES - 2);

    for (size_t at = 0; at < size; at++)
        data[at] = random_number() & 3 ? (uint8_t)random_number()
                                       : starts[random_number() % sizeof starts];
    for (size_t at = 0; at + 16 < size; at += 1 + random_number() % 64) { /* what leads near */
        static const uint8_t heads[][3] = {
            {0x90, 0x90, 0xe8}, {0x90, 0x90, 0xe9}, {0x90, 0x0f, 0x85}, {0x48, 0x8d, 0x05},
            {0x90, 0x0f, 0xa2}, {0xf3, 0x0f, 0xa2}, {0xb8, 0x0f, 0xa2}, {0x0f, 0x01, 0xd0}};
        int32_t distance = (int32_t)(random_number() % 512) - (int32_t)(at % 256);

        memcpy(data + at, heads[random_number() % 8], 3);
        memcpy(data + at + 3, &distance, sizeof distance);
    }
    return size;
}

int
main(int count, char **arguments)
{
    static uint8_t data[MOST_BYTES];
    long rounds = count > 1 ? atol(arguments[1]) : 1000;

    state = 88172645463325252ull + (count > 2 ? (uint64_t)atol(arguments[2]) : 0);
    for (long round = 0; round < rounds; round++)
        LLVMFuzzerTestOneInput(data, fill(data));
    printf("%ld rounds\n", rounds);
    return 0;
}
#endif
