/* The functions of one file, each with what is known of those that it calls: what they may answer
 * of the CPU, whether they call what they are handed, whether a run comes back from them.
 *
 * Small functions that are called are looked at themselves. Of other files' functions, and of Go's,
 * names tell: who calls this is asked for what they say, once for each. Nothing is allocated. */
#ifndef CPUPROBE_ASKING_H
#define CPUPROBE_ASKING_H

#include "links.h"
#include "ways.h"

enum {
    SMALL = 512,    /* bytes of a function that is looked at because it is called; a larger one may
                       keep what it is handed (vsearch) */
    MOST_DEPTH = 8, /* how many of these may call each other */
    MOST_WANTED = 256,
};

/* What a name of Go's tells of a function; and FILLS, what it was seen to do. */
enum {
    IS_NAMED = 1,
    ASKS_BY_NAME = 2,
    NEVER_BY_NAME = 4, /* a run does not come back from it */
    IS_RUNTIME = 8,    /* it asks all the time: where it puts answers is not asked */
    FILLS = 16,        /* puts answers where it is told to */
};

/* Something that is called. */
struct asked {
    uint64_t target;
    uint64_t word;    /* what its code tells, or its name, for ways.h */
    uint32_t answers; /* what it was found to answer, where that is more; or 0 */
    uint8_t state, traits;
};

/* A file. Addresses of slots stand for what is called through them, less than nothing. */
struct asking {
    struct ways_known *known;
    const struct ways_convention *convention; /* of functions that are not Go's */
    const struct links_known *links;
    const uint64_t *limits;     /* as links_limits has them */
    const uint8_t *const *code; /* the bytes of each of the links' ranges */
    const uint8_t *tables;      /* whether they are PLT entries */
    struct ways_set imports;    /* slots that hold what is another file's */
    struct ways_set stubs;      /* PLT entries that stand for functions of this file, and these: */
    const uint64_t *functions;
    struct ways_set
        chosen; /* these and slots, where one of such functions chooses what is called */
    uint64_t main, go_start, go_end;
    struct asked *asked;   /* by their hashes; of all zeros, to begin with */
    uint32_t room, count;  /* a power of two; how many there are */
    uint32_t most_steps;   /* for one function */
    uint32_t is_whole;     /* nothing was left out */
    uint32_t only_answers; /* nothing else is asked of what is looked at */
    int64_t left;          /* steps */
    struct ways_space *spaces[MOST_DEPTH + 1];
    uint64_t wanted[MOST_WANTED]; /* of which the names are asked for */
    uint32_t wants, lacks;        /* another space, too */
};

enum asking_end { ASKING_WANTS, ASKING_DONE, ASKING_NOTHING };

/* Looks at a function that is handed some numbers, as ways_call has them: its summary is in the
 * first space. Where it is all zeros it is no code, or too large. Where something is wanted it is
 * to be called again, with a space more if that lacks.
 */
enum asking_end asking_look(struct asking *file, uint64_t start, uint64_t end, uint64_t numbers);

/* Takes in what a name tells: the word of another file's function, traits of one of Go's. */
void asking_tell(struct asking *file, uint64_t target, uint32_t word, uint32_t traits);

/* Takes in what a function was found to answer: labels, and what is known of that in bits 31:16. */
void asking_answers(struct asking *file, uint64_t start, uint32_t answers);

/* Forgets what code told, but not what names did: more is known now. */
void asking_forget(struct asking *file);

#endif
