/* CPUID and XGETBV, run like candidates: both can fault (CPUID faulting, no OSXSAVE). */
#ifndef CPUPROBE_GUARDED_H
#define CPUPROBE_GUARDED_H

#include "../../guard.h"

enum outcome guard_cpuid(struct guard *guard, uint32_t leaf, uint32_t subleaf,
                         struct cpuid_leaf *out);
enum outcome guard_xgetbv(struct guard *guard, uint32_t index, uint64_t *value);

#endif
