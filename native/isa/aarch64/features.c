/*
 * The features of aarch64, and what ID registers and HWCAP say of them.
 */
#include "registers.h"

const struct feature_row feature_rows[FEATURE_COUNT] = {
#define ROW(constant, name, encoding, closure, flag, since, privileged, word, bit)                 \
    {name,      flag,       closure,                                                               \
     since,     constant,   encoding,                                                              \
     GATE_NONE, privileged, encoding == ENCODING_HINT},
    EACH_FEATURE(ROW)
#undef ROW
};

static const struct id_field {
    uint8_t feature, reg, lsb;
    uint8_t width : 5, is_signed : 1;
    int8_t least;
} fields[] = {
#define ROW(feature, reg, lsb, width, least, is_signed)                                            \
    {feature, ID_##reg, lsb, width, is_signed, least},
    EACH_ID_FIELD(ROW)
#undef ROW
};

static bool
holds(const struct id_field *field, uint64_t value)
{
    int64_t number = (int64_t)(value << (64 - field->lsb - field->width));

    if (field->is_signed)
        number >>= 64 - field->width;
    else
        number = (int64_t)((uint64_t)number >> (64 - field->width));
    return number >= field->least;
}

/* What ID registers say of a feature: any of its fields tells it. */
enum said
registers_say(const struct identity *identity, unsigned int feature)
{
    enum said said = SAID_NOTHING;

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (fields[i].feature != feature || !(identity->read >> fields[i].reg & 1))
            continue;
        if (holds(&fields[i], identity->value[fields[i].reg]))
            return SAID_YES;
        said = SAID_NO;
    }
    return said;
}
