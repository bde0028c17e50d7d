#include "functions.h"

/* Pointer encodings (LSB 5.0, section 10.5.1): how wide, and to what they are relative. */
enum { ABSOLUTE = 0x00, UDATA2 = 0x02, UDATA4 = 0x03, UDATA8 = 0x04 };
enum { SDATA2 = 0x0a, SDATA4 = 0x0b, SDATA8 = 0x0c };
enum { PC_RELATIVE = 0x10, FURTHER = 0x60, OMITTED = 0xff };
enum { USUAL = PC_RELATIVE | SDATA4 }; /* what compilers write */
enum { LONGEST_LEB = 10, LONGEST_AUGMENTATION = 16 };

struct cie {
    uint8_t pointer, lsda, is_augmented, is_sound;
};

/* A section as it is read; what reaches past its end is not there. */
struct reader {
    const uint8_t *data;
    uint64_t size, address;
    int failed;
};

static uint64_t
word_at(const struct reader *reader, uint64_t at, unsigned width)
{
    uint64_t word = 0;

    __builtin_memcpy(&word, reader->data + at, width);
    return word;
}

static uint8_t
read_byte(struct reader *reader, uint64_t *at)
{
    if (*at >= reader->size) {
        reader->failed = 1;
        return 0;
    }
    return reader->data[(*at)++];
}

/* An unsigned LEB128 (DWARF 5, section 7.6). */
static uint64_t
read_leb(struct reader *reader, uint64_t *at)
{
    uint64_t value = 0;

    for (unsigned count = 0; count < LONGEST_LEB && !reader->failed; count++) {
        uint64_t byte = read_byte(reader, at);

        value |= count < 9 ? (byte & 0x7f) << 7 * count : (uint64_t)(byte > 0) << 63;
        if (byte < 0x80)
            return value;
    }
    reader->failed = 1;
    return 0;
}

static uint64_t
read_pointer(struct reader *reader, uint64_t *at, uint8_t encoding)
{
    static const int8_t widths[16] = {[ABSOLUTE] = 8, [UDATA2] = 2,  [UDATA4] = 4, [UDATA8] = 8,
                                      [SDATA2] = -2,  [SDATA4] = -4, [SDATA8] = 8};
    int width = widths[encoding & 0x0f];
    unsigned size = (unsigned)(width < 0 ? -width : width);
    uint64_t value;

    if (!width || encoding & FURTHER || size > reader->size || *at > reader->size - size) {
        reader->failed = 1;
        return 0;
    }
    value = word_at(reader, *at, size);
    if (width == -2)
        value = (uint64_t)(int64_t)(int16_t)value;
    else if (width == -4)
        value = (uint64_t)(int64_t)(int32_t)value;
    if ((encoding & 0x70) == PC_RELATIVE && value)
        value += reader->address + *at;
    *at += size;
    return value;
}

/* What is behind the augmentation string: its letters say what. */
static void
read_augmentation(struct reader *reader, uint64_t letters, uint64_t zero, uint64_t at, uint64_t end,
                  struct cie *cie)
{
    cie->is_augmented = 1;
    read_leb(reader, &at);
    for (uint64_t letter = letters + 1; letter < zero && !reader->failed; letter++) {
        uint8_t encoding;

        if (at >= end) {
            reader->failed = 1;
            return;
        }
        switch (reader->data[letter]) {
        case 'R':
            cie->pointer = read_byte(reader, &at);
            break;
        case 'L':
            cie->lsda = read_byte(reader, &at);
            break;
        case 'P':
            encoding = read_byte(reader, &at);
            read_pointer(reader, &at, encoding & 0x0f);
            break;
        case 'S':
        case 'B':
            break;
        default:
            reader->failed = 1;
        }
    }
}

/* The CIE at a place; not sound if there is none that is understood. */
static struct cie
read_cie(struct reader *reader, uint64_t where)
{
    struct cie cie = {.lsda = OMITTED};
    uint64_t at = where + 8, end, letters, zero;
    uint8_t version;

    reader->failed = 0;
    if (reader->size < 12 || where > reader->size - 12 || word_at(reader, where + 4, 4) != 0 ||
        word_at(reader, where, 4) > reader->size - where - 4)
        return cie;
    end = where + 4 + word_at(reader, where, 4);
    version = read_byte(reader, &at);
    letters = zero = at;
    while (zero < end && zero - letters <= LONGEST_AUGMENTATION && reader->data[zero])
        zero++;
    if (zero >= end || reader->data[zero] || (version != 1 && version != 3))
        return cie;
    at = zero + 1;
    read_leb(reader, &at);
    read_leb(reader, &at);
    if (version == 1)
        at++;
    else
        read_leb(reader, &at);
    if (zero > letters && reader->data[letters] != 'z')
        return cie;
    if (zero > letters)
        read_augmentation(reader, letters, zero, at, end, &cie);
    cie.is_sound = !reader->failed;
    return cie;
}

/* Whether an FDE tells of a function; its place and length, and whether it has landing pads. */
static int
read_fde(struct reader *reader, uint64_t at, uint64_t length, const struct cie *cie,
         struct function *made, uint64_t *size)
{
    made->lsda = 0;
    if (cie->pointer == USUAL && length >= 12) {
        made->start = reader->address + at + (uint64_t)(int64_t)(int32_t)word_at(reader, at, 4);
        *size = word_at(reader, at + 4, 4);
        if (cie->is_augmented && cie->lsda == USUAL && length >= 17 && reader->data[at + 8] == 4)
            made->lsda = word_at(reader, at + 9, 4) != 0;
        return *size > 0;
    }
    reader->failed = 0;
    made->start = read_pointer(reader, &at, cie->pointer);
    *size = read_pointer(reader, &at, cie->pointer & 0x0f);
    if (cie->is_augmented && cie->lsda != OMITTED && read_leb(reader, &at))
        made->lsda = read_pointer(reader, &at, cie->lsda & 0x0f) != 0;
    return !reader->failed && *size > 0;
}

/* The last range of code that begins at an address or before, and where it is certain to end or the
 * next begins; NO_CODE where there is none. */
static uint32_t
range_of(const struct links_range *code, uint32_t ranges, uint64_t address, uint64_t *end)
{
    uint32_t low = 0, high = ranges;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (code[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return NO_CODE;
    *end = code[low - 1].end;
    if (low < ranges && code[low].start < *end)
        *end = code[low].start;
    return low - 1;
}

void
functions_unwind(const uint8_t *data, uint64_t size, uint64_t address,
                 const struct links_range *code, uint32_t ranges, struct functions *made)
{
    struct reader reader = {data, size, address, 0};
    struct cie cie = {0};
    uint64_t known = UINT64_MAX, low = 0, high = 0, length;
    uint32_t range = NO_CODE;

    for (uint64_t at = 4; at + 4 <= size; at += length + 4) {
        struct function found = {.strings = NAMELESS_TABLE, .source = BY_UNWIND};
        uint64_t reference = word_at(&reader, at, 4), bytes;

        length = word_at(&reader, at - 4, 4);
        if (length < 4 || length > size - at)
            return; /* the end mark, a 64-bit entry (no compiler writes one), or damage */
        if (reference == 0)
            continue;
        if (at - reference != known) { /* one before the section is none: it reaches past its end */
            known = at - reference;
            cie = read_cie(&reader, known);
        }
        if (!cie.is_sound || !read_fde(&reader, at + 4, length, &cie, &found, &bytes))
            continue;
        found.end = found.start + bytes < found.start ? UINT64_MAX : found.start + bytes;
        if (found.start < low || found.start >= high) {
            range = range_of(code, ranges, found.start, &high);
            low = range == NO_CODE ? high = 0 : code[range].start;
        }
        if (found.start < low || found.start >= high)
            continue;
        found.section = range;
        add_function(made, &found);
    }
}
