#include "functions.h"

/* System V ABI, edition 4.1, chapter 4, "Symbol Table": of Elf64_Sym, and of its fields; the same,
 * "Relocation": of Elf64_Rela. */
enum { ROW = 24, INFO = 4, OTHER = 5, SECTION = 6, VALUE = 8, SIZE = 16, RELOCATION = 24 };
enum { STT_NOTYPE = 0, STT_OBJECT = 1, STT_FUNC = 2, STT_GNU_IFUNC = 10 };
enum { STB_LOCAL = 0, STB_GLOBAL = 1, SHN_LORESERVE = 0xff00 };
enum { STV_DEFAULT = 0, STV_PROTECTED = 3, VISIBILITY = 3 };

struct symbol {
    uint64_t value, size;
    uint32_t name;
    uint16_t section;
    uint8_t kind, binding, other;
};

static struct symbol
read_row(const uint8_t *row)
{
    struct symbol symbol = {.kind = row[INFO] & 15, .binding = row[INFO] >> 4, .other = row[OTHER]};

    __builtin_memcpy(&symbol.name, row, sizeof symbol.name);
    __builtin_memcpy(&symbol.section, row + SECTION, sizeof symbol.section);
    __builtin_memcpy(&symbol.value, row + VALUE, sizeof symbol.value);
    __builtin_memcpy(&symbol.size, row + SIZE, sizeof symbol.size);
    return symbol;
}

/* Whether a name is one of those of variables that hold answers. */
static int
is_answer(const struct symbols *symbols, uint32_t name)
{
    uint64_t at = name;

    for (uint32_t letter = 0; letter < symbols->answers_size; letter++) {
        uint8_t wanted = symbols->answers[letter];

        if (at >= symbols->strings_size || symbols->strings[at] != wanted) {
            while (letter < symbols->answers_size && symbols->answers[letter]) /* the next one */
                letter++;
            at = name;
        } else if (wanted == 0) {
            return 1;
        } else {
            at++;
        }
    }
    return 0;
}

/* The number of the range of code that a symbol is of, or NO_CODE. patchelf moves sections and
 * leaves their old numbers in symbols: of functions that are loaded the address tells. */
static uint32_t
code_of(const struct symbols *symbols, const struct symbol *symbol)
{
    uint32_t code = symbol->section < symbols->sections ? symbols->codes[symbol->section] : NO_CODE;
    uint32_t low = 0, high = symbols->ranges;

    if (symbols->is_object || symbol->section >= SHN_LORESERVE ||
        (symbol->kind != STT_FUNC && symbol->kind != STT_GNU_IFUNC))
        return code;
    while (low < high) { /* the first that ends behind it */
        uint32_t middle = low + (high - low) / 2;

        if (symbols->code[middle].end <= symbol->value)
            low = middle + 1;
        else
            high = middle;
    }
    return low < symbols->ranges && symbol->value >= symbols->code[low].start ? low : code;
}

/* A symbol of a range of code. */
static void
add_symbol(const struct symbols *symbols, const struct symbol *symbol, uint32_t code,
           struct symbols_found *found)
{
    const struct links_range *range = &symbols->code[code];
    uint64_t inside = symbols->is_object ? symbol->value : symbol->value - range->start;
    struct function made = {.start = range->start + inside,
                            .name = symbol->name,
                            .strings = symbols->number,
                            .section = code,
                            .source = BY_SYMBOL};

    if (inside >= range->end - range->start)
        return;
    if (symbol->size)
        made.end = made.start + symbol->size < made.start ? UINT64_MAX : made.start + symbol->size;
    if (symbol->kind == STT_OBJECT) {
        if (symbol->size)
            add_function(&found->objects, &made);
        return;
    }
    /* Else they are labels inside a function, or of data. */
    if (symbol->kind == STT_NOTYPE && (symbol->binding != STB_GLOBAL || symbol->size))
        return;
    if (symbol->kind != STT_NOTYPE && symbol->kind != STT_FUNC && symbol->kind != STT_GNU_IFUNC)
        return;
    found->ifuncs += symbol->kind == STT_GNU_IFUNC;
    add_function(&found->functions, &made);
}

/* Whether other files see a symbol of .dynsym. */
static int
is_seen(const struct symbol *symbol)
{
    unsigned visibility = symbol->other & VISIBILITY;

    return visibility == STV_DEFAULT || visibility == STV_PROTECTED;
}

void
functions_symbols(const struct symbols *symbols, struct symbols_found *found)
{
    for (uint64_t at = 0; at + ROW <= symbols->size; at += ROW) {
        struct symbol symbol = read_row(symbols->rows + at);
        uint32_t code;

        if (symbol.section == 0) {
            if (symbol.name)
                add_link(&found->undefined, 0, symbol.name);
            continue;
        }
        if (symbol.kind == STT_OBJECT && is_answer(symbols, symbol.name)) {
            add_link(&found->answers, 0, symbol.value);
            continue;
        }
        code = code_of(symbols, &symbol);
        if (code == NO_CODE)
            continue;
        add_symbol(symbols, &symbol, code, found);
        if ((symbol.kind == STT_NOTYPE || symbol.kind == STT_FUNC) && symbol.binding != STB_LOCAL &&
            is_seen(&symbol))
            add_link(&found->exports, symbol.value, symbol.name);
    }
}

uint64_t
functions_relocations(const uint8_t *rows, uint64_t size, uint32_t kind, uint64_t low,
                      uint64_t high, struct links *within)
{
    uint64_t found = 0;

    for (uint64_t number = 0; number < size / RELOCATION; number++) {
        uint64_t words[2];

        __builtin_memcpy(words, rows + number * RELOCATION, sizeof words);
        found += (uint32_t)words[1] == kind;
        if (words[0] >= low && words[0] < high)
            add_link(within, words[0], number);
    }
    return found;
}
