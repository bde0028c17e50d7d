/* Runs CPUID and XGETBV through the guard. */
#include "guarded.h"

extern HIDDEN const uint8_t guarded_cpuid[], guarded_xgetbv[]; /* entry.c */

/* Executes CPUID. On a fault `out` holds the leaf and subleaf and zeros. */
enum outcome
guard_cpuid(struct guard *guard, uint32_t leaf, uint32_t subleaf, struct cpuid_leaf *out)
{
    enum outcome outcome;

    *out = (struct cpuid_leaf){.leaf = leaf, .subleaf = subleaf};
    guard->state.gpr[0] = leaf;
    guard->state.gpr[1] = subleaf;
    guard->state.rflags = FLAGS_AT_ENTRY;
    outcome = run_once(guard, guarded_cpuid, 2, STATE_GPR);
    if (outcome == OUTCOME_OK) {
        out->eax = (uint32_t)guard->state.gpr[0];
        out->ebx = (uint32_t)guard->state.gpr[3];
        out->ecx = (uint32_t)guard->state.gpr[1];
        out->edx = (uint32_t)guard->state.gpr[2];
    }
    return outcome;
}

/* Executes XGETBV with ECX = index. */
enum outcome
guard_xgetbv(struct guard *guard, uint32_t index, uint64_t *value)
{
    enum outcome outcome;

    guard->state.gpr[1] = index;
    guard->state.rflags = FLAGS_AT_ENTRY;
    outcome = run_once(guard, guarded_xgetbv, 3, STATE_GPR);
    *value =
        outcome == OUTCOME_OK ? (guard->state.gpr[2] << 32) | (uint32_t)guard->state.gpr[0] : 0;
    return outcome;
}
