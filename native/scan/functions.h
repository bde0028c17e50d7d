/* The functions of a file, as its symbols and unwind entries tell of them; and its code, cut into
 * functions and what lies between.
 *
 * Nothing is allocated. A list is filled as those of links.h are: its `count` goes on where there
 * is no room, so that one can come again with enough. */
#ifndef CPUPROBE_FUNCTIONS_H
#define CPUPROBE_FUNCTIONS_H

#include "links.h"
#include "scan.h"

enum {
    BY_SYMBOL = 1, /* sources, as in struct scan_range */
    BY_UNWIND = 2,
    LONGEST_PADDING = 64, /* bytes between functions that may be nothing */
};
enum { NO_CODE = 0xffffffffu, NAMELESS_TABLE = 0xffffffffu };

/* One function, or data among code. */
struct function {
    uint64_t start, end;    /* addresses; `end` 0: that is not told */
    uint32_t name, strings; /* its name's place in a table of strings, and the table's number */
    uint32_t section;       /* the number of its range of code */
    uint16_t source, lsda;  /* as in struct scan_range */
};

struct functions {
    struct function *all;
    uint64_t count, room;
};

static inline void
add_function(struct functions *made, const struct function *function)
{
    if (made->count < made->room)
        made->all[made->count] = *function;
    made->count++;
}

static inline void
add_link(struct links *made, uint64_t key, uint64_t value)
{
    if (made->count < made->room)
        made->all[made->count] = (struct link){key, value};
    made->count++;
}

/* A table of Elf64_Sym, and what it is read with. */
struct symbols {
    const uint8_t *rows, *strings;
    uint64_t size, strings_size;
    const uint32_t *codes; /* of each section the number of its range of code, or NO_CODE */
    const struct links_range *code;
    const uint8_t *answers;                          /* names of variables, each with its NUL */
    uint32_t sections, ranges, answers_size, number; /* `number`: of the table of strings */
    uint8_t is_object;                               /* addresses count from their sections */
};

/* What is in it. */
struct symbols_found {
    struct functions functions, objects; /* in code */
    struct links undefined;              /* value: the name's place */
    struct links exports;                /* functions: key is the address, value the name's place */
    struct links answers;                /* value: the address of a variable of such a name */
    uint64_t ifuncs;
};
void functions_symbols(const struct symbols *symbols, struct symbols_found *found);

/* Reads a table of Elf64_Rela: how many rows are of a kind, and which of them fill memory between
 * two addresses: key is the address, value the row's number. */
uint64_t functions_relocations(const uint8_t *rows, uint64_t size, uint32_t kind, uint64_t low,
                               uint64_t high, struct links *within);

/* Adds the functions of an .eh_frame section that is loaded at an address (LSB 5.0, section 10.6).
 * Only their ranges are read. What is damaged ends the reading. */
void functions_unwind(const uint8_t *data, uint64_t size, uint64_t address,
                      const struct links_range *code, uint32_t ranges, struct functions *made);

/* Go's table of functions, as its head has it (runtime/symtab.go, functab). */
struct go_table {
    const uint8_t *table;
    const struct links_range *code;
    uint64_t size, rows, count;    /* where the rows begin, and how many there are */
    uint64_t base, entries, names; /* what addresses, entries and names count from */
    uint32_t width;                /* bytes of a row: 8 or 16 */
    uint32_t number, ranges;       /* `number`: of the table as one of strings */
    uint64_t start, end;           /* found: where the first function begins, the last one ends */
};

/* Adds those that are in code; returns 0 where the table is damaged: they are not in order, begin
 * at 0 or lie beyond all memory. */
int functions_go(struct go_table *go, struct functions *made);

/* Lists functions whose name has a word, by the case of its letters or another: key is the start,
 * value a bit for each of the words that it has. The names are in the table of strings of that
 * number. `words`: each with its NUL, of at most 64 letters in all, none in upper case. */
void functions_named(const struct function *all, uint64_t count, const uint8_t *strings,
                     uint64_t size, uint32_t number, const uint8_t *words, uint32_t words_size,
                     struct links *named);

/* Brings functions into the order of their ranges of code and addresses, and makes one of those
 * that begin at one place: of symbols the first that tells of an end has the name, unwind entries
 * tell of landing pads, and of ends that no symbol tells of; those of a part of a function whose
 * end a symbol tells of begin none. Returns how many there are. `spare` has as much room. */
uint64_t functions_settle(struct function *all, struct function *spare, uint64_t count);

/* Lists what stands for functions, of which the end is not known, and functions: key is the start,
 * value the end. */
void functions_links(const struct function *all, uint64_t count, const struct links *stubs,
                     struct links *made);

/* A range of code, cut. */
struct functions_cut {
    struct scan_range *known,
        *gaps; /* room for all functions; for as many, and all data, and one */
    uint64_t *known_before, *gaps_before; /* of each the bytes of work before it */
    uint64_t knowns, unknowns;            /* how many there are */
    uint64_t work;                        /* bytes, with what was cut before */
    uint64_t bytes[SOURCES], padding, data;
    uint64_t large; /* functions of so many bytes */
};

/* Cuts code into functions, which do not overlap, without what is said to be data, and into what no
 * function claims and is no padding. What is found is added to the sums.
 *
 * all: the functions of that range of code, settled.
 * objects: ranges of data, in order, that do not overlap. */
void functions_cut(const struct function *all, uint64_t count, const uint8_t *code, uint64_t size,
                   uint64_t address, const struct links_range *objects, uint64_t objects_count,
                   struct functions_cut *cut);

#endif
