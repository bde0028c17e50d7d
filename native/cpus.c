/*
 * Which CPUs are to be measured: those that this process may run on, or those of a list.
 */
#include "core.h"
#include "syscalls.h"

#define WORDS (AFFINITY_BYTES / 8)

/* Reads a number; false where there is none. What is beyond any CPU becomes AFFINITY_BYTES * 8. */
static bool
take_number(const char **at, uint32_t *value)
{
    *value = 0;
    if (**at < '0' || **at > '9')
        return false;
    for (; **at >= '0' && **at <= '9'; ++*at)
        if (*value < AFFINITY_BYTES * 8)
            *value = *value * 10 + (uint32_t)(**at - '0');
    if (*value > AFFINITY_BYTES * 8)
        *value = AFFINITY_BYTES * 8;
    return true;
}

/* Sets in `wanted` the CPUs that the list ("0-3,8") names; all of them have to be in `allowed`. */
static enum error
take_list(const char *at, const uint64_t *allowed, uint64_t *wanted)
{
    for (;; at++) {
        uint32_t first, last;

        if (!take_number(&at, &first))
            return ERROR_CPU_LIST;
        last = first;
        if (*at == '-') {
            at++;
            if (!take_number(&at, &last) || last < first)
                return ERROR_CPU_LIST;
        }
        for (uint32_t cpu = first; cpu <= last; cpu++) {
            if (cpu >= AFFINITY_BYTES * 8 || !(allowed[cpu / 64] >> (cpu % 64) & 1))
                return ERROR_CPU_ABSENT;
            wanted[cpu / 64] |= 1ull << (cpu % 64);
        }
        if (*at == '\0')
            return ERROR_NONE;
        if (*at != ',')
            return ERROR_CPU_LIST;
    }
}

/*
 * Finds the CPUs to measure, in order. list: "0-3,8", or NULL for all that are allowed.
 *
 * memory: AFFINITY_BYTES * 2 zeroed bytes for masks, and room for AFFINITY_BYTES * 8 numbers, which
 * *cpus then points to.
 */
enum error
find_cpus(const char *list, void *memory, const uint32_t **cpus, uint32_t *count,
          struct trouble *trouble)
{
    uint64_t *allowed = memory, *wanted = allowed + WORDS;
    uint32_t *numbers = (uint32_t *)(wanted + WORDS);
    long result = NOTED(trouble, CALL_SCHED_GETAFFINITY,
                        syscall3(__NR_sched_getaffinity, 0, AFFINITY_BYTES, allowed));

    if (failed(result))
        return ERROR_CALL;
    if (list != NULL) {
        enum error error = take_list(list, allowed, wanted);

        if (error != ERROR_NONE)
            return error;
    } else
        wanted = allowed;
    *cpus = numbers;
    *count = 0;
    for (uint32_t word = 0; word < WORDS; word++)
        for (uint64_t bits = wanted[word]; bits != 0; bits &= bits - 1)
            numbers[(*count)++] = word * 64 + (uint32_t)__builtin_ctzll(bits);
    return ERROR_NONE;
}
