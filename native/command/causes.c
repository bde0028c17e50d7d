/*
 * Why something does not work here, argued from evidence only, the most specific cause first: the
 * order of cpuprobe/assessment/causes_x86_64.py.
 */
#include "screen.h"

static bool
is_decimal(const char *text, size_t length, int number)
{
    uint32_t value = 0;

    for (size_t i = 0; i < length && value < 100000; i++) {
        if (!is_digit(text[i]))
            return false;
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    return length > 0 && number >= 0 && value == (uint32_t)number;
}

/* Does a part of `clearcpuid=` name one of the features, or what one builds on? */
static bool
names_feature(const char *text, size_t length, const struct feature_bits *features)
{
    struct feature_bits wanted = *features;

    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (has_feature(features, i))
            unite_features(&wanted, &feature_rows[i].closure);
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (has_feature(&wanted, i) &&
            ((feature_rows[i].flag != NULL && text_is(feature_rows[i].flag, text, length)) ||
             is_decimal(text, length, kernel_feature_number(i))))
            return true;
    return false;
}

static bool
any_gate(const struct feature_bits *features, enum gate gate)
{
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (has_feature(features, i) && feature_rows[i].gate == gate)
            return true;
    return false;
}

/* Does a word of the command line take one of the features away? */
static bool
takes_away(const char *word, size_t length, const struct feature_bits *features, bool state_off)
{
    size_t at = 11; /* past "clearcpuid=" */

    if (text_is("noxsave", word, length))
        return state_off || any_gate(features, GATE_OSXSAVE);
    if (text_is("nofsgsbase", word, length))
        return any_gate(features, GATE_FSGSBASE);
    if (text_is("nopku", word, length))
        return any_gate(features, GATE_OSPKE);
    if (length < at || !text_begins(word, "clearcpuid="))
        return false;
    while (at < length) {
        size_t end = at;

        while (end < length && word[end] != ',')
            end++;
        if (names_feature(word + at, end - at, features))
            return true;
        at = end + 1;
    }
    return false;
}

/* The first word that does; false where none does. */
static bool
find_word(const struct kernel_told *kernel, const struct feature_bits *features, bool state_off,
          char found[FOUND_BYTES])
{
    const char *words = kernel->words;

    while (*words != '\0') {
        size_t length = 0;

        while (words[length] != '\0' && words[length] != ' ')
            length++;
        if (takes_away(words, length, features, state_off)) {
            keep_text(found, FOUND_BYTES, words, length);
            return true;
        }
        words += length + (words[length] == ' ');
    }
    return false;
}

/* Those of the features that a word of the command line takes away, each by itself, and the rest.
 */
struct feature_bits
explained(const struct survey *survey, const struct feature_bits *features,
          struct feature_bits *rest)
{
    struct feature_bits by_word = {{0}};
    char word[FOUND_BYTES];

    *rest = (struct feature_bits){{0}};
    for (unsigned int i = 0; i < FEATURE_COUNT; i++) {
        struct feature_bits one = {{0}};

        if (!has_feature(features, i))
            continue;
        add_feature(&one, i);
        add_feature(find_word(&survey->kernel, &one, false, word) ? &by_word : rest, i);
    }
    return by_word;
}

static bool
need_ymm(const struct feature_bits *features)
{
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (has_feature(features, i) && !(feature_xcr0(i) & 1u << 2))
            return false;
    return true;
}

/* The release that first enables the one gate that all features are behind, if this is older. */
static const char *
enabled_since(const struct kernel_told *kernel, const struct feature_bits *features)
{
    static const struct {
        int encoding, gate;
        struct release release;
        const char *text;
    } rows[] = {
#define ROW(encoding, gate, release, text) {encoding, gate, release, text},
        EACH_ENABLED_SINCE(ROW)
#undef ROW
    };

    for (size_t row = 0; row < sizeof rows / sizeof *rows && kernel->release_told; row++) {
        bool all = true;

        for (unsigned int i = 0; i < FEATURE_COUNT; i++)
            if (has_feature(features, i) &&
                (rows[row].gate >= 0 ? feature_rows[i].gate != rows[row].gate
                                     : feature_rows[i].gate != GATE_NONE ||
                                           feature_rows[i].encoding != rows[row].encoding))
                all = false;
        if (all && compare_releases(&kernel->release, &rows[row].release) < 0)
            return rows[row].text;
    }
    return NULL;
}

/* Why the register state of the features is off. */
static enum cause
why_state_off(const struct survey *survey, const struct feature_bits *features,
              struct filling *filling)
{
    const struct kernel_told *kernel = &survey->kernel;
    const struct verdict *verdict = &survey->verdict;

    if (verdict->gds_affected && !verdict->virtual && need_ymm(features)) {
        if (verdict->avx_disabled)
            return CAUSE_GDS;
        if (!kernel->gds_file && has_word(kernel, "gather_data_sampling=force"))
            return CAUSE_GDS_LIKELY;
    }
    if (find_word(kernel, features, true, filling->word))
        return CAUSE_COMMAND_LINE;
    filling->since = enabled_since(kernel, features);
    if (filling->since != NULL)
        return CAUSE_KERNEL_TOO_OLD;
    return verdict->virtual ? CAUSE_HYPERVISOR : CAUSE_UNKNOWN;
}

/* Is a word on the kernel's command line? */
bool
has_word(const struct kernel_told *kernel, const char *word)
{
    size_t length = text_length(word);

    for (const char *at = kernel->words; *at != '\0'; at++)
        if ((at == kernel->words || at[-1] == ' ') && text_begins(at, word) &&
            (at[length] == '\0' || at[length] == ' '))
            return true;
    return false;
}

/* The cause of a finding, and what goes into its words. */
enum cause
find_cause(const struct survey *survey, enum finding finding, const struct feature_bits *features,
           struct filling *filling)
{
    filling->release = survey->kernel.release_text;
    switch (finding) {
    case CP101:
        return why_state_off(survey, features, filling);
    case CP102:
        return find_word(&survey->kernel, features, false, filling->word) ? CAUSE_COMMAND_LINE
                                                                          : CAUSE_UNKNOWN;
    case CP201:
        if (survey->verdict.another_cpu && !survey->verdict.virtual)
            filling->hypervisor = "not announced in CPUID";
        return survey->verdict.virtual || survey->verdict.another_cpu ? CAUSE_EMULATOR
                                                                      : CAUSE_UNKNOWN;
    default:
        return CAUSE_NONE;
    }
}
