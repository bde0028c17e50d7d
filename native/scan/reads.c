#include "functions.h"

void
links_reads(const uint8_t *code, uint64_t from, uint64_t to, uint64_t address, uint64_t low,
            uint64_t high, struct links *reads)
{
    enum { READS = 1, LONG = 2 }; /* an opcode that does, the second byte of one behind 0F */
    static const uint8_t opcodes[256] = {
        [0x8b] = READS, [0x23] = READS, [0x39] = READS, [0x3b] = READS,
        [0x80] = READS, [0x81] = READS, [0x83] = READS, [0xf6] = READS,
        [0xf7] = READS, [0xb6] = LONG,  [0xb7] = LONG,  [0xba] = LONG,
    };

    for (uint64_t at = from; at + 6 <= to; at++) {
        unsigned opcode = opcodes[code[at]];
        int32_t distance;
        uint64_t target;

        if (!opcode || (code[at + 1] & 0xc7) != 0x05 ||
            (opcode == LONG && (at == from || code[at - 1] != 0x0f)))
            continue;
        __builtin_memcpy(&distance, code + at + 2, sizeof distance);
        target = address + at + 6 + (uint64_t)(int64_t)distance;
        if (target >= low && target < high)
            add_link(reads, target, address + at - (opcode == LONG));
    }
}
