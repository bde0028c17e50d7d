/*
 * The verdict in plain words, at most twenty lines on 80 columns.
 */
#include "screen.h"
#include "../syscalls.h"

#include <asm/ioctls.h>
#include <asm/termios.h>

#define LEAD 14 /* columns of the words at the left */
#define NARROWEST 40
#define WIDEST 100
#define MOST_NAMES 4

struct page {
    struct writer out;
    uint32_t width;
};

static uint32_t
terminal_width(void)
{
    struct winsize size = {0};

    if (failed(syscall3(__NR_ioctl, 1, TIOCGWINSZ, &size)) || size.ws_col == 0)
        return 80;
    return size.ws_col < NARROWEST ? NARROWEST : size.ws_col > WIDEST ? WIDEST : size.ws_col;
}

/* Lays a text out behind a word, wrapped at blanks; no byte of it commands a terminal. */
static void
put_row(struct page *page, const char *lead, const struct writer *text)
{
    size_t at = 0;
    bool first = true;

    while (at < text->length) {
        size_t room = page->width - LEAD, end = at + room;
        size_t lead_length = first ? text_length(lead) : 0;

        if (end >= text->length)
            end = text->length;
        else {
            while (end > at && text->text[end] != ' ')
                end--;
            if (end == at)
                end = at + room;
        }
        write_words(&page->out, "  ");
        if (first)
            write_words(&page->out, lead);
        for (size_t column = 2 + lead_length; column < LEAD; column++)
            write_words(&page->out, " ");
        for (; at < end; at++) {
            uint8_t byte = (uint8_t)text->text[at];

            write_text(&page->out, byte >= 0x20 && byte < 0x7f ? (char *)&byte : "?", 1);
        }
        write_words(&page->out, "\n");
        while (at < text->length && text->text[at] == ' ')
            at++;
        first = false;
    }
}

/* The same of a text that is at hand. */
static void
put_words(struct page *page, const char *lead, const char *words)
{
    struct writer text = {0};

    write_words(&text, words);
    put_row(page, lead, &text);
    release_writer(&text);
}

/* Writes the value of the gap that the text begins with; returns the gap's length, 0 for none. */
static size_t
fill_gap(struct writer *writer, const char *text, const char *features,
         const struct filling *filling)
{
    const struct {
        const char *gap, *value;
    } gaps[] = {
        {"{features}", features},
        {"{word}", filling->word},
        {"{release}", filling->release},
        {"{since}", filling->since},
        {"{hypervisor}", filling->hypervisor},
    };

    for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++)
        if (text_begins(text, gaps[i].gap) && gaps[i].value != NULL) {
            write_words(writer, gaps[i].value);
            return text_length(gaps[i].gap);
        }
    return 0;
}

/* A row whose text has gaps, {word} and the like, that are filled in. */
static void
put_filled(struct page *page, const char *lead, const char *text, const char *features,
           const struct filling *filling, const char *end)
{
    struct writer row = {0};

    while (*text != '\0') {
        size_t gap = *text == '{' ? fill_gap(&row, text, features, filling) : 0;

        if (gap == 0)
            write_text(&row, text, 1);
        text += gap == 0 ? 1 : gap;
    }
    write_words(&row, end);
    put_row(page, lead, &row);
    release_writer(&row);
}

/* The names of features in the order of the table, the first few. */
static void
write_names(struct writer *writer, const struct feature_bits *features)
{
    uint32_t count = 0, written = 0;

    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        count += has_feature(features, i);
    for (unsigned int place = 0; place < FEATURE_COUNT && written < MOST_NAMES; place++)
        for (unsigned int i = 0; i < FEATURE_COUNT; i++) {
            if (feature_rows[i].place != place || !has_feature(features, i))
                continue;
            if (written > 0)
                write_words(writer, written + 1 == count ? " and " : ", ");
            write_words(writer, feature_rows[i].name);
            written++;
        }
    if (count > written) {
        write_words(writer, " and ");
        write_number(writer, count - written);
        write_words(writer, " more");
    }
    write_text(writer, "", 1);
}

/* The features that a finding is about. */
static struct feature_bits
found(const struct verdict *verdict, enum finding finding)
{
    struct feature_bits features = {{0}};

    for (unsigned int i = 0; i < FEATURE_COUNT; i++) {
        enum state state = (enum state)verdict->state[i];
        bool wrong = has_feature(&verdict->wrong, i), gated = has_feature(&verdict->gated_off, i);

        if ((finding == CP101 && state == STATE_OF_WITHHELD && gated) ||
            (finding == CP102 && state == STATE_OF_WITHHELD && !gated) ||
            (finding == CP201 && state == STATE_OF_BROKEN && !wrong) ||
            (finding == CP202 && state == STATE_OF_BROKEN && wrong) ||
            (finding == CP301 && state == STATE_OF_UNEVEN))
            add_feature(&features, i);
    }
    return features;
}

static const struct {
    const char *plain, *remedy;
} findings[] = {
#define ROW(code, plain, remedy) [code] = {plain, remedy},
    EACH_FINDING(ROW)
#undef ROW
};

static const struct {
    const char *text, *remedy;
} causes[] = {
#define ROW(constant, text, remedy) [constant] = {text, remedy},
    EACH_CAUSE(ROW)
#undef ROW
        [CAUSE_NONE] = {"", ""},
};

/* One finding: the first in full, the others in a line. */
static void
put_finding(struct page *page, const struct survey *survey, enum finding finding,
            const struct feature_bits *features, struct filling *filling, bool first)
{
    enum cause cause = find_cause(survey, finding, features, filling);
    const char *remedy =
        causes[cause].remedy[0] != '\0' ? causes[cause].remedy : findings[finding].remedy;
    struct writer names = {0};

    write_names(&names, features);
    put_filled(page, first ? "MISMATCH" : "also", findings[finding].plain, names.text, filling,
               ".");
    if (first && causes[cause].text[0] != '\0')
        put_filled(page, "why", causes[cause].text, names.text, filling, ".");
    if (first)
        put_filled(page, "fix", remedy, names.text, filling, "");
    release_writer(&names);
}

/* What is wrong. What a word of the command line explains stands apart from what it does not. */
static void
put_mismatch(struct page *page, const struct survey *survey, const char *hypervisor)
{
    static const struct feature_bits none = {{0}};
    bool first = true;

    for (enum finding finding = 0; finding < FINDING_COUNT; finding++) {
        struct feature_bits features = found(&survey->verdict, finding), parts[2] = {features};

        if (finding == CP102)
            parts[0] = explained(survey, &features, &parts[1]);
        for (size_t i = 0; i < 2; i++) {
            struct filling filling = {.hypervisor = hypervisor};

            if (has_features(&none, &parts[i]))
                continue;
            put_finding(page, survey, finding, &parts[i], &filling, first);
            first = false;
        }
    }
    if (first)
        put_words(page, "MISMATCH", "Something that is claimed here does not work.");
    put_words(page, "until then", "cpuprobe-native flags --format cli   (for wasmtime)");
}

/* How many candidates ran, with the right result, on every CPU. */
static uint32_t
ran_on_each(const struct measurement *measurement)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < cpuprobe_candidates()->count; i++) {
        bool ran = true;

        for (uint32_t cpu = 0; cpu < measurement->record_count; cpu++)
            ran = ran && (!measurement->records[cpu].measured ||
                          measurement->records[cpu].outcome[i] == OUTCOME_OK);
        count += ran;
    }
    return count;
}

/* What people ask for, by the feature that stands for it. */
static const struct {
    enum feature feature;
    const char *name;
} known[] = {
    {FEATURE_SSE4_2, "SSE4.2"},   {FEATURE_AVX, "AVX"},      {FEATURE_AVX2, "AVX2"},
    {FEATURE_FMA, "FMA"},         {FEATURE_BMI2, "BMI2"},    {FEATURE_AVXVNNI, "AVX-VNNI"},
    {FEATURE_AVX512F, "AVX-512"}, {FEATURE_AMX_TILE, "AMX"}, {FEATURE_APXF, "APX"},
    {FEATURE_AES, "AES"},         {FEATURE_SHA, "SHA"},
};

enum standing {
    HAS,
    ON_REQUEST,
    NOT_SAFE,
    HAS_NOT,
    NOT_PROVEN,
    NOT_USABLE,
    NOT_KNOWN,
    STANDING_COUNT,
};

/* How the machine stands to a feature; probe/cpuprobe/report/screen.py says the same. */
static enum standing
standing_of(const struct verdict *verdict, enum feature feature)
{
    /* Where little is known, what it builds on may only be unknown. */
    bool safe = has_feature(&verdict->safe, feature) || verdict->judgement == JUDGED_INSUFFICIENT;

    switch ((enum state)verdict->state[feature]) {
    case STATE_OF_USABLE:
        return safe ? HAS : NOT_SAFE;
    case STATE_OF_UNVERIFIED:
        return verdict->executed ? NOT_PROVEN : safe ? HAS : NOT_SAFE;
    case STATE_OF_GATED:
        return ON_REQUEST;
    case STATE_OF_ABSENT:
    case STATE_OF_HIDDEN:
        return HAS_NOT;
    case STATE_OF_UNKNOWN:
        return NOT_KNOWN;
    default:
        return NOT_USABLE;
    }
}

/* Whether something that people ask for is claimed, and what it builds on is missing. */
static bool
is_baseless(const struct verdict *verdict)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (standing_of(verdict, known[i].feature) == NOT_SAFE)
            return true;
    return false;
}

static void
put_verdict(struct page *page, const struct survey *survey, const char *hypervisor)
{
    struct writer text = {0};

    if (survey->verdict.judgement == JUDGED_MISMATCH) {
        put_mismatch(page, survey, hypervisor);
        return;
    }
    if (!survey->verdict.executed)
        put_words(
            page, "UNVERIFIED",
            is_baseless(&survey->verdict)
                ? "Features are claimed without what they build on; nothing was executed."
                : "Nothing known speaks against what CPUID claims, but nothing was executed.");
    else if (survey->verdict.judgement == JUDGED_INSUFFICIENT)
        put_words(page, "UNKNOWN", "Too little can be read here to judge.");
    else {
        write_words(&text, "This machine does what it claims: ");
        write_number(&text, ran_on_each(&survey->measurement));
        write_words(&text, " instructions executed on each CPU.");
        put_row(page, "OK", &text);
        release_writer(&text);
    }
}

static void
put_features(struct page *page, const struct verdict *verdict)
{
    static const char *const leads[] = {
        [HAS] = "has",           [ON_REQUEST] = "on request", [NOT_SAFE] = "not safe",
        [HAS_NOT] = "has not",   [NOT_PROVEN] = "not proven", [NOT_USABLE] = "not usable",
        [NOT_KNOWN] = "unknown",
    };

    for (unsigned int standing = 0; standing < STANDING_COUNT; standing++) {
        struct writer text = {0};

        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (standing_of(verdict, known[i].feature) == standing) {
                write_words(&text, text.length > 0 ? " " : "");
                write_words(&text, known[i].name);
            }
        put_row(page, leads[standing], &text);
        release_writer(&text);
    }
}

static void
put_level(struct page *page, const struct verdict *verdict)
{
    struct writer text = {0};

    if (verdict->level != NULL || verdict->level_at_most == NULL)
        write_words(&text, verdict->level == NULL ? "below x86-64-v1" : verdict->level);
    else {
        write_words(&text, verdict->level_at_least == NULL ? "" : "at least ");
        write_words(&text, verdict->level_at_least == NULL ? "" : verdict->level_at_least);
        write_words(&text, verdict->level_at_least == NULL ? "" : ", ");
        write_words(&text, "at most ");
        write_words(&text, verdict->level_at_most);
        write_words(&text, ": not all of it is known");
    }
    put_row(page, "level", &text);
    release_writer(&text);
}

/* What people call the hypervisor of that signature. */
static const char *
known_hypervisor(const char *signature)
{
    static const struct {
        const char *signature, *name;
    } rows[] = {
#define ROW(signature, name) {signature, name},
        EACH_HYPERVISOR(ROW)
#undef ROW
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (text_equal(signature, rows[i].signature))
            return rows[i].name;
    return signature;
}

/* The first CPU that was measured; survey_machine finds at least one. */
static const struct cpu_record *
first_measured(const struct measurement *measurement)
{
    const struct cpu_record *record = measurement->records;

    while (!record->measured)
        record++;
    return record;
}

/* What /proc/cpuinfo says of the CPU is of another where it is set aside. */
static void
put_identity(struct page *page, const struct survey *survey, const char *hypervisor)
{
    const struct kernel_told *kernel = &survey->kernel;
    const struct identity *identity = &first_measured(&survey->measurement)->identity;
    bool heard = !survey->verdict.set_aside;
    struct writer text = {0};
    uint32_t cpus = 0;
    char name[49];

    for (uint32_t i = 0; i < survey->measurement.record_count; i++)
        cpus += survey->measurement.records[i].measured != 0;
    if (cpuid_brand(identity, name) || cpuid_vendor(identity, name))
        write_words(&text, name);
    else
        write_words(&text, heard && kernel->brand[0] != '\0' ? kernel->brand : "unknown CPU");
    write_words(&text, ", ");
    write_number(&text, cpus);
    write_words(&text, cpus == 1 ? " CPU" : " CPUs");
    if (kernel->release_text[0] != '\0') {
        write_words(&text, ", Linux ");
        write_words(&text, kernel->release_text);
    }
    if (heard && kernel->microcode[0] != '\0') {
        write_words(&text, ", microcode ");
        write_words(&text, kernel->microcode);
    }
    if (hypervisor != NULL) {
        write_words(&text, ", guest of ");
        write_words(&text, hypervisor);
    }
    put_row(page, "machine", &text);
    release_writer(&text);
}

int
command_screen(const struct request *request)
{
    struct page page = {.width = terminal_width()};
    char signature[13];
    const char *hypervisor = NULL, *called = NULL;
    struct survey survey;
    int code = survey_or_complain(request, &survey);

    if (code != EXIT_GOOD)
        return code;
    if (survey.verdict.virtual) {
        const struct cpu_record *first = first_measured(&survey.measurement);

        hypervisor = cpuid_hypervisor_name(&first->identity, signature)
                         ? signature
                         : "a hypervisor without a name";
        called = known_hypervisor(hypervisor);
    }
    put_identity(&page, &survey, called);
    write_words(&page.out, "\n");
    put_verdict(&page, &survey, hypervisor);
    write_words(&page.out, "\n");
    put_level(&page, &survey.verdict);
    put_features(&page, &survey.verdict);
    write_words(&page.out, "\n");
    if (survey.verdict.judgement != JUDGED_MISMATCH) /* which says it already */
        put_words(&page, "wasmtime", "cpuprobe-native flags");
    put_words(&page, "details", "cpuprobe-native > machine.json");
    put_words(&page, "", "cpuprobe inspect machine.json   (on any machine with Python)");
    release(&survey.measurement);
    return print_written(&page.out);
}
