#include "relocate.h"

/* x86-64 psABI 1.0, table 4.10. */
enum {
    R_64 = 1,
    R_PC32 = 2,
    R_PLT32 = 4,
    R_RELATIVE = 8,
    R_GOTPCREL = 9,
    R_32 = 10,
    R_32S = 11,
    R_PC64 = 24,
    R_GOTPCRELX = 41,
    R_REX_GOTPCRELX = 42,
    /* Of code of any size, from the place of the global offset table on. */
    R_GOTOFF64 = 25,
    R_PLTOFF64 = 31,
};
enum { ROW = 24 };

static void
add_row(struct relocate_made *made, uint64_t place, uint64_t info, uint64_t addend)
{
    if (made->count < made->room) {
        uint64_t *row = made->rows + 3 * made->count;

        row[0] = place;
        row[1] = info;
        row[2] = addend;
    }
    made->count++;
}

static void
put(uint8_t *section, uint64_t length, uint64_t offset, uint64_t value, unsigned size)
{
    if (section && length >= size && offset <= length - size)
        __builtin_memcpy(section + offset, &value, size);
}

/* Whether an address is an immediate of 64 bits: MOV, B8 and a register, behind REX.W. */
static int
is_immediate(const uint8_t *section, uint64_t offset)
{
    return offset >= 2 && (section[offset - 2] & 0xfe) == 0x48 &&
           (section[offset - 1] & 0xf8) == 0xb8;
}

void
relocate(const uint8_t *table, uint64_t size, const struct relocate_symbol *symbols, uint64_t count,
         uint8_t *section, uint64_t length, uint64_t address, struct relocate_made *made)
{
    for (uint64_t at = 0; at + ROW <= size; at += ROW) {
        uint64_t row[3], place;
        uint32_t kind;
        const struct relocate_symbol *symbol;

        __builtin_memcpy(row, table + at, sizeof row);
        if (row[1] >> 32 >= count || row[0] >= length)
            continue;
        symbol = symbols + (row[1] >> 32);
        place = address + row[0];
        kind = (uint32_t)row[1];
        switch (kind) {
        case R_64:
            put(section, length, row[0], symbol->address + row[2], 8);
            if (section)
                made->odd += is_immediate(section, row[0]);
            else if (symbol->foreign)
                add_row(made, place, (symbol->foreign - 1) << 32 | R_64, row[2]);
            else
                add_row(made, place, R_RELATIVE, symbol->address + row[2]);
            break;
        case R_PC32:
        case R_PLT32:
            put(section, length, row[0], symbol->address + row[2] - place, 4);
            break;
        case R_PC64:
            put(section, length, row[0], symbol->address + row[2] - place, 8);
            break;
        case R_GOTPCREL:
        case R_GOTPCRELX:
        case R_REX_GOTPCRELX:
            put(section, length, row[0], symbol->slot + row[2] - place, 4);
            if (!symbol->foreign)
                add_row(made, symbol->slot, R_RELATIVE, symbol->address);
            break;
        case R_32:
        case R_32S:
            put(section, length, row[0], symbol->address + row[2], 4);
            made->absolute += section != 0;
            break;
        default:
            made->odd += section && kind >= R_GOTOFF64 && kind <= R_PLTOFF64;
            break;
        }
    }
}
