/*
 * The key of a cached verdict: CPU, microcode, kernel, command line, boot, allowed CPUs, and the
 * version and tables of this library. No child and no candidate: it takes a fraction of a
 * millisecond.
 */
#include "key.h"
#include "../files.h"
#include "../flags.h"
#include "../syscalls.h"

#include <asm/prctl.h>

#ifndef ARCH_GET_CPUID
#define ARCH_GET_CPUID 0x1011
#endif
#define HYPERVISOR (1u << 31) /* CPUID.01H:ECX */
#define OSXSAVE (1u << 27)    /* CPUID.01H:ECX */
#define MOST_LINES 32         /* of a block of /proc/cpuinfo */
#define SECOND_START 0x84222325cbf29ce4u

/* FNV-1a. */
uint64_t
hash_bytes(uint64_t hash, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

/* Adds a part and its length, so that no two lists of parts are alike. */
static void
add(struct machine_key *key, const void *bytes, size_t length)
{
    for (size_t i = 0; i < 2; i++) {
        key->hash[i] = hash_bytes(key->hash[i], &length, sizeof length);
        key->hash[i] = hash_bytes(key->hash[i], bytes, length);
    }
}

static void
add_leaf(struct machine_key *key, uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
    uint32_t *r = registers;

    __asm__ volatile("cpuid"
                     : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
                     : "a"(leaf), "c"(subleaf));
    if (leaf == 1)
        r[1] &= 0x00ffffff; /* initial APIC ID */
    if (leaf == 0xd)
        r[1] = 0; /* the size of what is enabled now: XCR0 says it */
    add(key, registers, 4 * sizeof *registers);
}

/* Adds the leaves that flags and levels rest on, the identity, and XCR0. False where CPUID would
 * fault: a process can ask for that (arch_prctl, ARCH_SET_CPUID). */
static bool
add_cpuid(struct machine_key *key)
{
    static const uint32_t leaves[][2] = {
        {0x1, 0},        {0x7, 0},        {0x7, 1},        {0xd, 1},        {0x80000001, 0},
        {0x80000002, 0}, {0x80000003, 0}, {0x80000004, 0}, {0x40000000, 0},
    };
    uint32_t registers[4], basic, extended, features = 0, low, high;

    if (syscall2(__NR_arch_prctl, ARCH_GET_CPUID, 0) == 0)
        return false;
    add_leaf(key, 0, 0, registers);
    basic = registers[0];
    add_leaf(key, 0x80000000, 0, registers);
    extended = registers[0];
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
        uint32_t leaf = leaves[i][0];

        /* Intel CPUs answer a leaf that is not there with their highest, which may number the CPU.
         */
        if ((leaf < 0x40000000 && leaf > basic) || (leaf >= 0x80000000 && leaf > extended) ||
            (leaf == 0x40000000 && !(features & HYPERVISOR)))
            continue;
        add_leaf(key, leaf, leaves[i][1], registers);
        if (leaf == 1)
            features = registers[2];
    }
    if (features & OSXSAVE) {
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        add(key, (const uint32_t[]){low, high}, 8);
    }
    return true;
}

/* Adds the first line of a file; false where there is none. */
static bool
add_line(struct machine_key *key, const char *path)
{
    char line[LINE_BYTES];
    size_t length = line_of("", path, line, sizeof line);

    add(key, line, length);
    return length > 0;
}

/* Is it a line that changes from one moment to the next? */
static bool
is_moving(const char *line)
{
    return text_begins(line, "cpu MHz") || text_begins(line, "bogomips");
}

/* Adds the first block of /proc/cpuinfo, microcode and flags among its lines. */
static bool
add_cpuinfo(struct machine_key *key)
{
    struct file file;
    char line[LINE_BYTES];
    size_t taken = 0, lines = 0;
    long length;

    if (!open_file(&file, "", "/proc/cpuinfo"))
        return false;
    while (lines < MOST_LINES && (length = read_line(&file, line, sizeof line, &taken)) > 0) {
        if (!is_moving(line))
            add(key, line, (size_t)length);
        lines++;
    }
    close_file(&file);
    return lines > 0;
}

static bool
add_allowed(struct machine_key *key)
{
    uint8_t mask[AFFINITY_BYTES];
    long bytes = syscall3(__NR_sched_getaffinity, 0, sizeof mask, mask);

    if (failed(bytes))
        return false;
    add(key, mask, (size_t)bytes);
    return true;
}

bool
machine_key(struct machine_key *key)
{
    const struct candidate_table *table = cpuprobe_candidates();
    const uint32_t own[] = {table->count, FEATURE_COUNT, find_wasmtime(0).major,
                            sizeof(struct verdict)};

    *key = (struct machine_key){{HASH_START, SECOND_START}};
    add(key, CPUPROBE_VERSION, sizeof CPUPROBE_VERSION);
    add(key, own, sizeof own);
    return add_line(key, "/proc/sys/kernel/random/boot_id") &&
           add_line(key, "/proc/sys/kernel/osrelease") &&
           add_line(key, "/proc/sys/kernel/version") && add_line(key, "/proc/cmdline") &&
           add_cpuinfo(key) && add_allowed(key) && add_cpuid(key);
}
