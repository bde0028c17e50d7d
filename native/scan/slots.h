/* What is known of places on the stack in one function (ways.h, struct values). */
#ifndef CPUPROBE_SLOTS_H
#define CPUPROBE_SLOTS_H

#include "ways.h"

/* A place on the stack as a number, in order: the register that it is counted from, how far. Below
 * it are what is known of the value there, and its labels. */
#define SLOT(base, offset) ((uint64_t)((base) == RBP) << 32 | (uint32_t)((offset) + (1ll << 31)))
#define SLOT_LABELS 31
#define SLOT_FACT(word) ((uint16_t)((word) >> 16 & 0x7fff))
/* Beside the labels, how many bytes were written there: of several ways the most. */
#define SLOT_SIZE(word) ((((word)&SLOT_BYTES) >> 13) + 1)
enum { SLOT_TWO = 1 << 13, SLOT_FOUR = 3 << 13, SLOT_BYTES = 7 << 13 };

/* Takes in the places on the stack of another; whether there was anything new. */
int slots_join(struct ways_space *space, struct values *mine, const struct values *theirs,
               unsigned never);
/* What so many bytes that are written to a place are; nothing is known of them without labels. */
void slots_set(struct values *state, uint64_t slot, uint32_t labels, uint16_t fact, unsigned size);
/* Takes an answer for what is written to memory on the stack from a place on. */
void slots_fill(struct values *state, uint64_t first, uint32_t labels);
/* The labels of places from one to another, both included: of what was written there, or before
 * them and farther. */
uint32_t slots_labels(const struct values *state, uint64_t slot, uint64_t last);

#endif
