/*
 * The flags of wasmtime's versions, and which of them hold on a machine that was judged.
 */
#ifndef CPUPROBE_FLAGS_H
#define CPUPROBE_FLAGS_H

#include "verdict.h"

#define MAXIMUM_FLAGS 32

enum flag_format { FORMAT_TEXT, FORMAT_JSON, FORMAT_CLI, FORMAT_CLIF };

/* Why a flag is not true. */
enum flag_reason {
    FLAG_HOLDS,
    FLAG_UNKNOWN,          /* it is not known what it asks for */
    FLAG_NO_HOST,          /* this wasmtime accepts it on no host */
    FLAG_UNSAFE,           /* its feature is not usable */
    FLAG_BUILDS_ON_UNSAFE, /* something that its feature builds on is not */
    FLAG_REFUSED,          /* wasmtime's own detector refuses it here */
};

/* What versions of wasmtime know that know the same. */
struct wasmtime {
    uint8_t count;
    uint8_t flags[MAXIMUM_FLAGS]; /* places in the list of all, in the version's own order */
    uint32_t refuses;             /* on every host */
    struct feature_bits simd_floor;
};

/* A version of wasmtime and what it knows; NULL where it was never measured. */
struct target {
    uint32_t major;
    const struct wasmtime *wasmtime;
};

struct target find_wasmtime(uint32_t major); /* 0: the newest */
int flag_feature(unsigned int flag);
int find_flag(const struct wasmtime *wasmtime, const char *name, size_t length);
enum flag_reason judge_flag(const struct verdict *verdict, const struct wasmtime *wasmtime,
                            unsigned int flag);
void write_flags(struct writer *writer, const struct verdict *verdict, const struct target *target,
                 enum flag_format format);
void write_verdict(struct writer *writer, const struct verdict *verdict);

#endif
