/*
 * What ID registers say of the features: features.c.
 */
#ifndef CPUPROBE_FEATURES_H
#define CPUPROBE_FEATURES_H

#include "../../verdict.h"

enum said { SAID_NOTHING, SAID_NO, SAID_YES };

enum said registers_say(const struct identity *identity, unsigned int feature);

#endif
