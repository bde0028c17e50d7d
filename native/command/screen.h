/*
 * What cpuprobe-native says on a terminal: screen.c lays it out, causes.c argues why.
 */
#ifndef CPUPROBE_SCREEN_H
#define CPUPROBE_SCREEN_H

#include "command.h"
#include "sentences.h"

#define FOUND_BYTES 64

enum cause {
#define CONSTANT(constant, text, remedy) constant,
    EACH_CAUSE(CONSTANT)
#undef CONSTANT
        CAUSE_NONE,
};

enum finding {
#define CONSTANT(code, plain, remedy) code,
    EACH_FINDING(CONSTANT)
#undef CONSTANT
        FINDING_COUNT,
};

/* What the words of a cause have gaps for. */
struct filling {
    char word[FOUND_BYTES];
    const char *release, *since, *hypervisor;
};

enum cause find_cause(const struct survey *survey, enum finding finding,
                      const struct feature_bits *features, struct filling *filling);
struct feature_bits explained(const struct survey *survey, const struct feature_bits *features,
                              struct feature_bits *rest);
bool has_word(const struct kernel_told *kernel, const char *word);

#endif
