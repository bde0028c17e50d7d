/*
 * Between the files of libcpuprobe.
 */
#ifndef CPUPROBE_LIBRARY_H
#define CPUPROBE_LIBRARY_H

#include "../flags.h"
#include "cpuprobe.h"

/* Whoever calls may have a stack that is not aligned as the ABI asks. */
#define PUBLIC __attribute__((visibility("default"), force_align_arg_pointer))

long survey_here(const struct options *wanted, struct verdict *verdict);
long hand_out_flags(const struct verdict *verdict, const struct target *target, char *out,
                    size_t size);
long error_number(enum error error);
int level_number(const char *level);

#endif
