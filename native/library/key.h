/*
 * What a verdict depends on, as a short key: key.c.
 */
#ifndef CPUPROBE_KEY_H
#define CPUPROBE_KEY_H

#include "../core.h"

#define HASH_START 0xcbf29ce484222325u /* FNV-1a of 64 bits */

struct machine_key {
    uint64_t hash[2];
};

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length);

/* False where something that it depends on cannot be told: then nothing may be kept. */
bool machine_key(struct machine_key *key);

#endif
