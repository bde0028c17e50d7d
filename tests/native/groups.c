/*
 * What observe.c writes about several CPUs, which CPU lists it takes, and the JSON writer.
 *
 * observe.c is compiled into this file, because machines whose CPUs differ have to be made up:
 * its static functions get records that no run produced.
 */
#define cpuprobe_observe observe_in_groups
#define outcome_name outcome_name_in_groups
#include "../../native/observe.c"
#undef cpuprobe_observe
#undef outcome_name

#include "test.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

enum error cpuprobe_observe(const struct options *options, const struct candidate_table *table,
                            struct writer *writer, struct reason *reason);

static struct cpu_record records[4];

/* Four equal CPUs, numbered 0 to 3. */
static struct measurement
four_cpus(void)
{
    memset(records, 0, sizeof records);
    for (uint32_t i = 0; i < 4; i++) {
        records[i].cpu = i;
        records[i].pinned = records[i].measured = true;
        records[i].identity.cpuid_outcome = OUTCOME_OK;
        records[i].identity.xgetbv_outcome = OUTCOME_SKIPPED;
        records[i].identity.leaf_count = 1;
        records[i].identity.leaves[0] = (struct cpuid_leaf){0, 0, 1, 2, 3, 4};
        records[i].outcome[0] = OUTCOME_OK;
        records[i].outcome[1] = OUTCOME_SIGILL;
        records[i].si_code[1] = 2;
    }
    return (struct measurement){.records = records, .record_count = 4};
}

static const char *
groups_of(struct measurement *measurement)
{
    static const struct candidate candidates[] = {{.name = "one"}, {.name = "two"}};
    static const struct candidate_table table = {candidates, 2, NULL, NULL, NULL};
    static char text[4096];
    struct writer writer = {0};

    find_groups(measurement, table.count);
    write_groups(&writer, measurement, true, &table);
    snprintf(text, sizeof text, "%.*s", (int)writer.length, writer.text);
    release_writer(&writer);
    return text;
}

#define GROUP(cpus, outcomes)                                                                      \
    "{\"cpus\":[" cpus "],\"cpuid\":[[0,0,1,2,3,4]],\"cpuid_outcome\":\"ok\","                     \
    "\"xgetbv_outcome\":\"skipped\",\"ran\":[" outcomes "],\"faults\":{},\"wrong\":{}}"
#define PLAIN "\"ok\",\"sigill\""

void
equal_cpus_are_one_group(void)
{
    struct measurement measurement = four_cpus();

    CHECK(strcmp(groups_of(&measurement),
                 "\"groups\":[" GROUP("0,1,2,3", PLAIN) "],\"unmeasured_cpus\":[]") == 0,
          "%s", groups_of(&measurement));
    records[0].measured = false; /* offline since it was listed */
    CHECK(strcmp(groups_of(&measurement),
                 "\"groups\":[" GROUP("1,2,3", PLAIN) "],\"unmeasured_cpus\":[0]") == 0,
          "%s", groups_of(&measurement));
    records[1].outcome[1] = OUTCOME_OK;
    records[3].outcome[1] = OUTCOME_OK;
    CHECK(strcmp(groups_of(&measurement), "\"groups\":[" GROUP("1,3", "\"ok\",\"ok\"") "," GROUP(
                                              "2", PLAIN) "],\"unmeasured_cpus\":[0]") == 0,
          "%s", groups_of(&measurement));
}

void
a_borrowed_fault_is_told_of(void)
{
    struct measurement measurement = four_cpus();

    CHECK(strstr(groups_of(&measurement), "asked_once") == NULL);
    records[3].borrowed = true;
    CHECK(strstr(groups_of(&measurement), "\"cpus\":[0,1,2,3]") != NULL);
    CHECK(strstr(groups_of(&measurement), "\"asked_once\":true,\"ran\"") != NULL, "%s",
          groups_of(&measurement));
}

void
any_difference_splits_a_group(void)
{
    for (int difference = 0; difference < 8; difference++) {
        struct measurement measurement = four_cpus();
        struct cpu_record *odd = &records[2];

        switch (difference) {
        case 0:
            odd->identity.leaf_count = 0;
            break;
        case 1:
            odd->identity.leaves[0].edx ^= 1u << 31;
            break;
        case 2:
            odd->identity.xcr0 = 7;
            break;
        case 3:
            odd->identity.cpuid_outcome = OUTCOME_SIGSEGV;
            break;
        case 4:
            odd->identity.xgetbv_outcome = OUTCOME_SIGILL;
            break;
        case 5:
            odd->outcome[1] = OUTCOME_OK;
            break;
        case 6:
            odd->outcome_before[1] = OUTCOME_SIGILL;
            break;
        case 7:
            odd->identity.leaves[0].subleaf = 1;
            break;
        }
        CHECK(strstr(groups_of(&measurement), "\"cpus\":[0,1,3]") != NULL, "difference %d: %s",
              difference, groups_of(&measurement));
        CHECK(strstr(groups_of(&measurement), "\"cpus\":[2]") != NULL, "difference %d", difference);
    }
}

void
wrong_bytes_do_not_split_a_group(void)
{
    struct measurement measurement = four_cpus();

    for (uint32_t i = 0; i < 4; i++) {
        records[i].outcome[0] = OUTCOME_WRONG;
        records[i].wrong_count = 1;
        records[i].wrong[0] = (struct wrong_value){0, 2, {(uint8_t)i, 0xff}};
    }
    CHECK(strstr(groups_of(&measurement), "\"cpus\":[0,1,2,3]") != NULL);
    CHECK(strstr(groups_of(&measurement), "\"wrong\":{\"one\":\"00ff\"}") != NULL, "%s",
          groups_of(&measurement));
}

static enum error
error_of_list(const char *cpus)
{
    static const struct candidate_table none = {0};
    struct options options = {.root = "", .cpus = cpus, .execute = false};
    struct writer writer = {0};
    struct reason reason;
    enum error error = cpuprobe_observe(&options, &none, &writer, &reason);

    release_writer(&writer);
    return error;
}

void
cpu_lists(void)
{
    static const struct {
        const char *list;
        enum error error;
    } cases[] = {
        {"", ERROR_CPU_LIST},
        {"x", ERROR_CPU_LIST},
        {"0x0", ERROR_CPU_LIST},
        {" 0", ERROR_CPU_LIST},
        {"0 ", ERROR_CPU_LIST},
        {"0\n", ERROR_CPU_LIST},
        {"-0", ERROR_CPU_LIST},
        {"+0", ERROR_CPU_LIST},
        {"0-", ERROR_CPU_LIST},
        {"0,", ERROR_CPU_LIST},
        {",0", ERROR_CPU_LIST},
        {"0,,0", ERROR_CPU_LIST},
        {"0-0-0", ERROR_CPU_LIST},
        {"1-0", ERROR_CPU_LIST},
        {"65535", ERROR_CPU_ABSENT},
        {"65536", ERROR_CPU_ABSENT},
        {"0-65535", ERROR_CPU_ABSENT},
        {"4294967296", ERROR_CPU_ABSENT},           /* 2^32: must not wrap to 0 */
        {"18446744073709551616", ERROR_CPU_ABSENT}, /* 2^64 */
        {"99999999999999999999999999999999999999999999999999", ERROR_CPU_ABSENT},
        {"0-4294967296", ERROR_CPU_ABSENT},
    };
    cpu_set_t allowed;
    char list[64];
    int first = 0;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK(error_of_list(cases[i].list) == cases[i].error, "\"%s\": %d", cases[i].list,
              error_of_list(cases[i].list));
    CHECK(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    while (!CPU_ISSET(first, &allowed))
        first++;
    for (const char *form = "a\0b\0c\0"; *form != '\0'; form += 2) {
        if (*form == 'a')
            snprintf(list, sizeof list, "%d", first);
        else if (*form == 'b')
            snprintf(list, sizeof list, "%d-%d", first, first);
        else
            snprintf(list, sizeof list, "%03d,%d,%d-%d", first, first, first, first);
        CHECK(error_of_list(list) == ERROR_NONE, "\"%s\"", list);
    }
}

void
json_escapes(void)
{
    static const char hostile[] = "a\"b\\c\n\t\x01\x7f\xc3\xa4\0end";
    static const char expected[] = "[\"a\\\"b\\\\c\\u000a\\u0009\\u0001\\u007f\\u00c3\\u00a4"
                                   "\\u0000end\",\"\",\"00ff\"]";
    static const uint8_t bytes[] = {0x00, 0xff};
    struct writer writer = {0};

    json_open(&writer, '[');
    json_bytes(&writer, hostile, sizeof hostile - 1);
    json_string(&writer, "");
    json_hex(&writer, bytes, 2);
    json_close(&writer, ']');
    CHECK(!writer.failed);
    CHECK(writer.length == sizeof expected - 1);
    CHECK(memcmp(writer.text, expected, writer.length) == 0, "%.*s", (int)writer.length,
          writer.text);
    release_writer(&writer);
}

void
json_numbers(void)
{
    static const char expected[] = "{\"a\":0,\"b\":[18446744073709551615,10,{}],\"c\":true}";
    struct writer writer = {0};

    json_open(&writer, '{');
    json_key(&writer, "a");
    json_number(&writer, 0);
    json_key(&writer, "b");
    json_open(&writer, '[');
    json_number(&writer, UINT64_MAX);
    json_number(&writer, 10);
    json_open(&writer, '{');
    json_close(&writer, '}');
    json_close(&writer, ']');
    json_key(&writer, "c");
    json_literal(&writer, "true");
    json_close(&writer, '}');
    CHECK(writer.length == sizeof expected - 1);
    CHECK(memcmp(writer.text, expected, writer.length) == 0, "%.*s", (int)writer.length,
          writer.text);
    release_writer(&writer);
}

/* The buffer moves as it grows, and a document beyond any machine's is refused, not written badly. */
void
json_grows(void)
{
    static char block[1 << 16];
    struct writer writer = {0};

    memset(block, 'x', sizeof block);
    for (int i = 0; i < 40; i++) {
        block[0] = (char)('A' + i);
        write_text(&writer, block, sizeof block);
    }
    CHECK(!writer.failed);
    CHECK(writer.length == 40 * sizeof block);
    for (int i = 0; i < 40; i++)
        CHECK(writer.text[i * sizeof block] == 'A' + i);
    write_text(&writer, block, (size_t)1 << 28); /* refused before a byte of it is read */
    CHECK(writer.failed);
    CHECK(writer.length == 40 * sizeof block);
    write_text(&writer, block, 1); /* and nothing is added after what is missing */
    CHECK(writer.length == 40 * sizeof block);
    release_writer(&writer);
    CHECK(writer.text == NULL);
}
