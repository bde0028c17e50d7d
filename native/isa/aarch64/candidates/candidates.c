/*
 * The candidate table, made from table.h, sets.h, inputs.h and results.h (generated from
 * candidates.list).
 *
 * The code of every candidate lies in .text as words: old assemblers can build it, and no page has
 * to be writable and executable, which SELinux and hardened kernels refuse. Before it stands the
 * `bti c` that it is entered by, after it a direct branch to candidate_return (../entry.c).
 */
#include "../../../core.h"

#define CANDIDATE(id, name, set, code, state, input, check, results, expected, variants)           \
    __asm__(".pushsection .text.candidates, \"ax\", @progbits\n"                                   \
            ".balign 4\n"                                                                          \
            "hint #34\n" /* bti c */                                                               \
            ".globl cpuprobe_candidate_" #id "\n"                                                  \
            ".hidden cpuprobe_candidate_" #id "\n"                                                 \
            "cpuprobe_candidate_" #id ":\n"                                                        \
            ".inst " code "\n"                                                                     \
            "b candidate_return\n"                                                                 \
            ".popsection\n");                                                                      \
    extern __attribute__((visibility("hidden"))) const uint8_t cpuprobe_candidate_##id[];
#include "table.h"
#undef CANDIDATE

/* inputs.h writes vectors and memory as string literals; the rows become an enum and an array. */
#define INPUT(name, varies, gprs, predicates, vectors, memory) INPUT_##name,
enum {
#include "inputs.h"
};
#undef INPUT

#define GPRS(...)                                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define PREDICATES(...)                                                                            \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define VECTORS(bytes) (const uint8_t *)bytes
#define MEMORY(bytes) (const uint8_t *)bytes
#define INPUT(name, varies, gprs, predicates, vectors, memory)                                     \
    {gprs, predicates, vectors, memory, varies},
static const struct input inputs[] = {
#include "inputs.h"
};
#undef MEMORY

#define GPR LOCATION_GPR
#define VECTOR LOCATION_VECTOR
#define PREDICATE LOCATION_PREDICATE
#define FLAGS LOCATION_FLAGS
#define MEMORY LOCATION_MEMORY
/* Code is written as "0x4e284820,0xd503201f": eleven characters a word, the last comma being the
 * final NUL. */
#define BYTES_OF(code) (sizeof code / 11 * 4)
#include "../../../candidates.h"
