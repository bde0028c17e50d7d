/*
 * What command/check.c makes of a file of flags, whoever wrote it.
 *
 * check.c is compiled into this file, for its reader is static; what main.c gives it is not called.
 * Each text lies in memory of its very length, so that a byte read past its end is an error of the
 * address sanitizer.
 */
#include "../../native/command/check.c"

#include "test.h"

#include <stdlib.h>
#include <string.h>

int
print_written(struct writer *writer)
{
    release_writer(writer);
    return EXIT_GOOD;
}

void
complain(const char *subject, const char *what)
{
    (void)subject;
    (void)what;
}

int
survey_or_complain(const struct request *request, struct survey *survey)
{
    (void)request;
    (void)survey;
    return EXIT_CANNOT_MEASURE;
}

/* How many flags are in the text, -1 where it is no set of flags. */
static long
flags_in(const char *text, size_t length)
{
    static const struct verdict nothing_safe;
    struct request request = {.target = find_wasmtime(0)};
    struct writer writer = {0};
    char *copy = malloc(length == 0 ? 1 : length);
    struct source source = {.text = copy, .length = length, .line = 1};
    uint32_t line;
    long count, again;

    memcpy(copy, text, length);
    count = walk(source, NULL, &request, NULL, &line);
    again = count < 0 ? count : walk(source, &writer, &request, &nothing_safe, &line);
    release_writer(&writer);
    free(copy);
    return count == again ? count : -2;
}

static const char *const sets_of_flags[] = {
    "has_avx=true\nhas_avx2=false\n",
    "# a comment\n\n  has_avx=true \r\nhas_avx2=true",
    "{\"has_avx\": true, \"has_avx2\" :false }\n",
    "\n{\n\t\"has_avx\":true,\"has_foo\":true}",
};

void
files_of_flags_are_read(void)
{
    for (size_t i = 0; i < sizeof sets_of_flags / sizeof *sets_of_flags; i++)
        EXPECT(flags_in(sets_of_flags[i], strlen(sets_of_flags[i])) == 2, "%s", sets_of_flags[i]);
    EXPECT(flags_in("", 0) == 0);
    EXPECT(flags_in("{}", 2) == 0);
    EXPECT(flags_in("{", 1) == -1);
    EXPECT(flags_in("has_avx", 7) == -1);
    EXPECT(flags_in("has_avx=tru", 11) == -1);
}

/* Cut anywhere, or with bytes changed at random, a file is read to its end or refused. */
void
damaged_files_of_flags_are_bounded(void)
{
    static const char bytes[] = "{}\":,=\n# \\truefals_\0\xff";
    uint32_t random = 1;

    for (size_t i = 0; i < sizeof sets_of_flags / sizeof *sets_of_flags; i++) {
        size_t length = strlen(sets_of_flags[i]);
        char text[64];

        CHECK(length < sizeof text);
        for (size_t cut = 0; cut < length; cut++)
            EXPECT(flags_in(sets_of_flags[i], cut) >= -1, "%s cut at %zu", sets_of_flags[i], cut);
        for (int round = 0; round < 2000; round++) {
            memcpy(text, sets_of_flags[i], length);
            for (int change = 0; change < 3; change++) {
                random = random * 1664525 + 1013904223;
                text[(random >> 8) % length] = bytes[(random >> 20) % (sizeof bytes - 1)];
            }
            EXPECT(flags_in(text, length) >= -1, "round %d", round);
        }
    }
}
