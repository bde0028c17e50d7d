/*
 * What ID registers say of the features: features.c.
 */
#ifndef CPUPROBE_REGISTERS_H
#define CPUPROBE_REGISTERS_H

#include "../../verdict.h"

enum said { SAID_NOTHING, SAID_NO, SAID_YES };

enum said registers_say(const struct identity *identity, unsigned int feature);

#endif
