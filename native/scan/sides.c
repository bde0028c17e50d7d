/* What every side of a choice comes to: a backward analysis that meets in what all have, as of very
 * busy expressions. */
#include "telling.h"

/* What a block comes to: a function that it calls, a feature, an address that it lets go of. */
struct item {
    enum { CALLS, NEEDS, LETS_GO } kind;
    uint64_t what, site;
    uint32_t way;
};

static int
is_told(const struct gone_over *f, const struct item *item)
{
    const struct ways_summary *made = &f->space->summary;

    if (item->kind == NEEDS)
        return made->needed[item->what / 64] >> item->what % 64 & 1;
    for (uint32_t at = 0; item->kind == CALLS && at < made->calls; at++)
        if (made->call[at].target == item->what && made->call[at].tiers == f->tiers)
            return 1;
    for (uint32_t at = 0; item->kind == LETS_GO && at < made->escapes; at++)
        if (made->escape[at].address == item->what && made->escape[at].way == item->way &&
            made->escape[at].tiers == f->tiers)
            return 1;
    return 0;
}

/* The number of an item as a bit, which is new at the end; no bit where there is no room, or where
 * it is told already. */
static uint64_t
item_bit(const struct gone_over *f, struct item *items, uint32_t *count, struct item item)
{
    uint32_t at = 0;

    while (at < *count && (items[at].kind != item.kind || items[at].what != item.what ||
                           items[at].way != item.way))
        at++;
    if (at == MOST_ITEMS || (at == *count && is_told(f, &item)))
        return 0;
    if (at == *count)
        items[(*count)++] = item;
    return 1ull << at;
}

/* What a block itself comes to, as bits. */
static uint64_t
own_items(struct gone_over *f, uint32_t number, struct item *items, uint32_t *count)
{
    struct ways_summary *made = &f->space->side, *whole = &f->space->summary;
    uint64_t bits = 0;

    f->made = made;
    f->here = f->grades;
    telling_clear(made);
    telling_block(f, number, 0);
    f->made = whole;
    for (uint32_t at = 0; at < made->needs; at++)
        bits |= item_bit(f, items, count,
                         (struct item){NEEDS, made->need[at].feature, made->need[at].address, 0});
    for (uint32_t at = 0; at < made->calls; at++)
        bits |= item_bit(f, items, count,
                         (struct item){CALLS, made->call[at].target, made->call[at].site, 0});
    for (uint32_t at = 0; at < made->escapes; at++)
        bits |= item_bit(f, items, count,
                         (struct item){LETS_GO, made->escape[at].address, made->escape[at].site,
                                       made->escape[at].way});
    return bits;
}

/* Which of space->open has the grades whose CPUs may come to a block. */
enum { COMING = 9 };

/* What a block comes to: what any way from it does; at a choice, what all ways do. */
static uint64_t
come_to(const struct gone_over *f, uint32_t number, struct item *items, uint32_t *count)
{
    const struct ways_space *space = f->space;
    const struct block *block = &space->block[number];
    const struct operation *last = &space->operation[block->first + block->count - 1];
    uint64_t some = 0, all = UINT64_MAX, certain = space->own[number];
    uint32_t sides = 0, ways[2], grades = f->grades & space->open[COMING][number];
    int is_case = number >= space->tables; /* one of a switch, and the rest of them */
    int is_choice = is_case || (block->branches & (f->choices | FLAG)) != 0;

    for (unsigned grade = 0; grades & block->known && grade < GRADES; grade++)
        if (grades & block->known & 1u << grade) {
            uint32_t known = ways_onward(space, block, 0, grade, ways);

            while (known--)
                certain |= space->comes[ways[known]];
        }
    if (!(grades & ~block->known))
        return grades ? certain : 0;

    for (uint32_t way = 0; way < block->number; way++)
        if (space->block[block->ways[way]].alive) {
            some |= space->comes[block->ways[way]];
            all &= space->comes[block->ways[way]];
            sides++;
        }
    if (is_choice && block->leaves && last->where[0] == OPERAND_TARGET) {
        all &= item_bit(f, items, count,
                        (struct item){CALLS, last->immediate, space->start + last->offset, 0});
        sides++;
    }
    if (block->leaves && last->where[0] != OPERAND_TARGET && !block->number)
        sides = 0; /* a jump that may lead elsewhere */
    return certain | (is_choice ? sides ? all : 0 : some);
}

void
sides_tell(struct gone_over *f)
{
    struct ways_space *space = f->space;
    struct item items[MOST_ITEMS];
    uint32_t count = 0;
    int changed = 1;

    for (uint32_t at = 0; at < space->blocks; at++) {
        const struct block *block = &space->block[at];

        space->own[at] =
            block->alive && space->entry[at].reached ? own_items(f, at, items, &count) : 0;
        space->comes[at] = space->own[at];
    }
    ways_open_for(space, 0, f->grades, space->open[COMING]);
    for (unsigned round = 0; changed && round < MOST_ROUNDS; round++) {
        changed = 0;
        for (uint32_t at = space->blocks; at--;) {
            uint64_t now = space->block[at].alive ? come_to(f, at, items, &count) : 0;

            changed |= now != space->comes[at];
            space->comes[at] = now;
        }
    }
    for (uint32_t at = 0; at < count; at++) {
        const struct item *item = &items[at];

        if (!(space->comes[0] >> at & 1))
            continue;
        if (item->kind == NEEDS)
            telling_need(f, (unsigned)item->what, item->site, 0);
        else if (item->kind == CALLS)
            telling_call(
                f, (struct ways_call){item->what, item->site, 0, 0, (uint16_t)f->tiers, 0, 0});
        else
            telling_escape(f, item->what, item->way, 0, item->site);
    }
}
