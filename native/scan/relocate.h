/* The addresses in an object, put where they belong once its sections have places, as a linker does
 * it: so that what follows calls in a library follows them in objects.
 *
 * Nothing is allocated. */
#ifndef CPUPROBE_RELOCATE_H
#define CPUPROBE_RELOCATE_H

#include <stdint.h>

/* A symbol of an object. */
struct relocate_symbol {
    uint64_t address; /* what it stands for */
    uint64_t slot;    /* where in a global offset table its address stands */
    uint64_t foreign; /* of what no object defines, one more than its number; else 0 */
};

/* What a loader would fill: rows of three words, as Elf64_Rela. `count` goes on where there is no
 * room, so that one can come again with enough. */
struct relocate_made {
    uint64_t *rows;
    uint64_t count, room;
    uint64_t absolute; /* how many addresses stand in code as they are: it does not move */
    uint64_t odd;      /* how many are used in ways that are not followed */
};

/* Reads a table of Elf64_Rela for a section of an object that is put to an address.
 *
 * section: its bytes, which are changed; NULL: of data, of which only addresses matter. */
void relocate(const uint8_t *table, uint64_t size, const struct relocate_symbol *symbols,
              uint64_t count, uint8_t *section, uint64_t length, uint64_t address,
              struct relocate_made *made);

#endif
