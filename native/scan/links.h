/* How the parts of a file refer to each other: calls and jumps to functions, addresses that code
 * takes, addresses in static memory; and what asks for the CPU's features.
 *
 * Code is searched for such bytes wherever they stand: what does not begin an instruction is told
 * apart later, where it matters (ways.h); of the few that seem to ask, at once. Nothing is
 * allocated. */
#ifndef CPUPROBE_LINKS_H
#define CPUPROBE_LINKS_H

#include <stddef.h>
#include <stdint.h>

/* What refers, and to what: of a call the function and the call's address, say. */
struct link {
    uint64_t key, value;
};

/* Links as they are found; `count` goes on where there is no room. */
struct links {
    struct link *all;
    uint64_t count, room;
};

/* Addresses in order, each once, and which granules of 1 << shift bytes, from the first address on,
 * hold any: of 64 granules a bit each, and how many addresses are below them. */
struct links_bucket {
    uint64_t held;
    uint32_t below;
};
struct links_index {
    const uint64_t *all;
    struct links_bucket *buckets;
    uint32_t count, shift;
    uint32_t beyond; /* the bucket behind the last one, which is empty */
    uint64_t low;    /* the first address */
};
enum { MOST_BUCKETS = 1 << 15 };

/* Makes an index of `count` addresses. Of buckets there must be three more than a 512th of the
 * bytes that they span, or MOST_BUCKETS + 2 if that is less. */
void links_index(struct links_index *index);

/* A range of code: its address, and the one behind. */
struct links_range {
    uint64_t start, end;
};

/* What is known of a file before its code is searched. */
struct links_known {
    struct links_index functions;
    struct links_index slots; /* static memory that the loader fills with addresses, and these: */
    const uint64_t *pointers;
    const struct links_range *code;
    uint32_t ranges;
    uint32_t is_fixed; /* it does not move: addresses are immediates too */
};

/* Searches a part of code, which begins and ends at a multiple of 64 bytes of it or at its end.
 * `calls`: key is the function's number, value the address of the call; `taken`: an address, and
 * that of the instruction which may take it; `asking`: value is the address of bytes that are CPUID
 * or XGETBV, as far as that is known. What is known is only read: parts can be searched at once. */
void links_search(const uint8_t *code, uint64_t size, uint64_t from, uint64_t to, uint64_t address,
                  const struct links_known *known, struct links *calls, struct links *taken,
                  struct links *asking);

/* Searches a part of code for what may read static memory between two addresses, which is counted
 * from the next instruction: MOV, MOVZX, TEST, AND, CMP and BT. Key is what is read, value the
 * instruction but for prefixes. */
void links_reads(const uint8_t *code, uint64_t from, uint64_t to, uint64_t address, uint64_t low,
                 uint64_t high, struct links *reads);

/* Reads a table of Elf64_Rela. `pointers`: key is the slot, value what it is filled with; `names`:
 * value is the place of another file's symbol in the string table; `chosen`: slots that are filled
 * with what such a function chooses (ifunc), once more. */
void links_relocations(const uint8_t *table, uint64_t size, const uint8_t *symbols,
                       uint64_t symbols_size, struct links *pointers, struct links *names,
                       struct links *chosen);

/* Reads static memory that is not moved: which words are addresses of code; of the global offset
 * table (`is_table`) each word. */
void links_words(const uint8_t *content, uint64_t size, uint64_t address, int is_table,
                 const struct links_known *known, struct links *pointers);

/* Likewise of Go, once `slots` is known: which words lead to one of them, or so many words before
 * it as `before` has bits. */
void links_values(const uint8_t *content, uint64_t size, uint64_t address,
                  const struct links_known *known, uint32_t before, struct links *pointers);

/* Sorts lists by the keys of their links, of which those with one key stay in their order, into
 * `all`. `spare` has as much room. */
void links_sort(const struct links *lists, uint32_t number, struct link *all, struct link *spare);

/* The values of links by their keys, which are below `keys`, in the order of the lists: those of a
 * key are from `first` of it on to that of the next one. `first` has two more than keys. */
void links_group(const struct links *lists, uint32_t number, uint64_t keys, uint64_t *first,
                 uint64_t *values);

/* Takes links apart: their keys, and their values. */
void links_part(const struct link *all, uint64_t count, uint64_t *keys, uint64_t *values);

/* Keeps the last of each key, of links in order; returns how many there are. */
uint64_t links_last(struct link *all, uint64_t count);

/* What stands on the pages of 4 KiB that functions are on: a mask of two words for each page, in
 * the order of their numbers, and for each function; `limits` as links_limits has them. Returns the
 * bytes of all functions on these pages. */
uint64_t links_hold(const struct links_known *known, const uint64_t *limits, const uint64_t *pages,
                    const uint64_t *masks, uint64_t count, uint64_t *held);

/* The numbers of functions with a mask, small ones first: those whose sizes have as many bits from
 * the last on. `numbers` has room for all functions twice. Returns how many there are. */
uint32_t links_held(const struct links_known *known, const uint64_t *limits, const uint64_t *held,
                    uint32_t *numbers);

/* The numbers of those of some functions whose mask has a bit, in their order; how many. */
uint32_t links_holding(const uint64_t *held, const uint32_t *every, uint32_t count, uint32_t bit,
                       uint32_t *numbers);

/* Turns slots round: key is the address that stands there. */
void links_turn(const struct links_known *known, struct links *turned);

/* How long an entry of a procedure linkage table is, up to the end of the distance to its slot; 0
 * where there is none. */
unsigned links_stub(const uint8_t *code, uint64_t left);

/* Finds the entries of a procedure linkage table, jumps through a slot: key is the entry, value the
 * slot. */
void links_stubs(const uint8_t *code, uint64_t size, uint64_t address, struct links *stubs);

/* Which of them lead to functions of this file: key is the function, value the entry. */
void links_entered(const struct links_known *known, const struct links *stubs,
                   struct links *entered);

/* Where each function ends at the latest: at `ends`, if that is known, where the next one begins,
 * or its code ends; 0 where it is in no code. */
void links_limits(const struct links_known *known, const uint64_t *ends, uint64_t *limits);

/* --- between the files of this --- */

/* The range of code that holds an address; as many as there are for none. */
uint32_t links_range_of(const struct links_known *known, uint64_t address);

#endif
