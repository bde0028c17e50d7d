"""A C file that a program links in: it runs before static initialisers and names what is missing.

A program built for x86-64-v3 dies of SIGILL on older machines, often in a static initialiser,
before any check in main. What is written here is compiled for the baseline, asks CPUID and XCR0 for
what the program was built with, and ends it with exit code 1 and one line instead.

It believes CPUID and XCR0, as a program must at its start; it executes nothing to find out.
"""

from __future__ import annotations

import re

from cpuprobe.emit.choose import FlagSet, refuse_only_off
from cpuprobe.errors import UsageError
from cpuprobe.facts.features import X86Feature, load_features, load_levels

_REGISTERS = {"eax": 0, "ebx": 1, "ecx": 2, "edx": 3}

# Where CR4's bits can be read back: CPUID.1:ECX[27] OSXSAVE, CPUID.7.0:ECX[4] OSPKE (SDM vol. 2A).
_READ_BACK = {"ospke": "{0x7, 0, 2, 4, 1, 1, 0, NAME}"}

_CODE = r"""
#if !defined(__x86_64__)
#error "made for x86-64"
#endif
#if defined(__SSE3__) || defined(__POPCNT__) || defined(__AVX__)
#error "compile this file for the baseline: -march=x86-64 after all other flags"
#endif

#include <cpuid.h>
#include <unistd.h>

struct need {
    unsigned leaf, subleaf, reg, bit, mask, least, xcr0;
    const char *name;
};

static const struct need needs[] = {
ROWS};

static unsigned xcr0(void)
{
    unsigned eax, ebx, ecx, edx;

    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx >> 27 & 1))
        return 0; /* OSXSAVE is off: XGETBV would fault */
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax;
}

static void say(const char *text)
{
    const char *end = text;

    while (*end)
        end++;
    while (text < end) {
        ssize_t done = write(2, text, (size_t)(end - text));
        if (done <= 0)
            break;
        text += done;
    }
}

static void check(void)
{
    unsigned enabled = xcr0(), i, missing = 0;

    for (i = 0; i < sizeof needs / sizeof *needs; i++) {
        unsigned r[4] = {0, 0, 0, 0};
        int has = (unsigned)__get_cpuid_max(needs[i].leaf & 0x80000000u, 0) >= needs[i].leaf;

        if (has) {
            __cpuid_count(needs[i].leaf, needs[i].subleaf, r[0], r[1], r[2], r[3]);
            has = (r[needs[i].reg] >> needs[i].bit & needs[i].mask) >= needs[i].least;
        }
        if (has && (enabled & needs[i].xcr0) == needs[i].xcr0)
            continue;
        say(missing++ ? ", " : "this program was built for TARGET; this machine lacks: ");
        say(needs[i].name);
        if (has)
            say(" (switched off by the system)");
    }
    if (missing) {
        say("\n");
        _exit(1);
    }
}

/* A program's preinit functions run before every initialiser, its libraries' included (gABI,
   chapter 5, "Initialization and Termination Functions"). musl leaves them out, and a library
   cannot have any: there the constructor does it, the first of its own file. */
#if !defined(__PIC__) || defined(__PIE__)
__attribute__((section(".preinit_array"), used)) static void (*const cpuprobe_first)(void) = check;
#endif
__attribute__((constructor(101))) static void cpuprobe_second(void)
{
    check();
}
"""


def guard(flags: FlagSet) -> str:
    """The C file for what may be used beyond the baseline.

    Raises UsageError where the flags are what to switch off, or nothing lies beyond the baseline.
    """
    refuse_only_off(flags, "guard", "checks what a program needs")
    baseline = frozenset(load_levels()[0].features)
    needs = [
        row
        for name, row in load_features().items()
        if name in flags.safe - baseline and not row.harmless
    ]
    if not needs:
        raise UsageError("--format guard: nothing beyond x86-64-v1 may be used: nothing to check")
    # The name of a user's profile goes into a comment and a string.
    target = re.sub(r"[^A-Za-z0-9 ,.+_-]", "", ", ".join(flags.profiles) or flags.level or "")
    rows = "".join(f"    {line},\n" for row in needs for line in _rows(row))
    return (
        f"/* Ends a program built for {target} with one line where the machine lacks something.\n"
        "   cc -O2 -march=x86-64 -c guard.c, and link guard.o first.\n"
        "   Made by cpuprobe flags --format guard. */\n"
        + _CODE.replace("ROWS", rows).replace("TARGET", target)
    )


def _rows(row: X86Feature) -> list[str]:
    """The rows of C that one feature takes."""
    bit = row.cpuid
    xcr0 = row.xcr0 or (0x3 if row.os == "osxsave" else 0)
    number = _REGISTERS[bit.register]
    value = f"{bit.bit}, {(1 << bit.width) - 1}, {bit.least}"
    lines = [f'{{{bit.leaf:#x}, {bit.subleaf}, {number}, {value}, {xcr0:#x}, "{row.name}"}}']
    if row.os in _READ_BACK:
        lines.append(_READ_BACK[row.os].replace("NAME", f'"{row.name}"'))
    return lines
