"""The cffi definition of `cpuprobe._native`: the freestanding core, and the scanner.

Run by setup.py through cffi's setuptools hook (`cffi_modules`).
"""

import os
import platform
import re
import zlib
from glob import glob

import cffi

MACHINE = os.environ.get("CPUPROBE_ISA", platform.machine())
ISA = f"native/isa/{MACHINE}"
# What judges without Python, for which aarch64 lacks the tables.
UNUSED = {"aarch64": ("native/verdict.c", "native/flags.c", "native/survey.c")}
# Relative to the checkout, where setuptools runs this; the executable's own files are left out.
CORE = sorted(
    {*glob("native/*.c"), *glob(f"{ISA}/*.c"), *glob(f"{ISA}/candidates/*.c")}
    - {
        "native/main.c",
        f"{ISA}/start.c",
        f"{ISA}/screen.c",
        *UNUSED.get(MACHINE, ()),
    }
)
SCANNER = sorted(glob("native/scan/*.c"))
HEADERS = sorted(
    [*glob("native/*.h"), *glob(f"{ISA}/**/*.h", recursive=True), *glob("native/scan/*.h")]
)

# The first version of the architecture and nothing more, whatever CFLAGS this Python was built
# with: the core runs where the CPU lies about everything else. No stack protector: it needs
# thread-local storage that a raw child process need not have. No LTO: it could merge the core with
# code compiled for more.
TARGET = {
    "x86_64": ("-march=x86-64", "-mtune=generic"),
    "aarch64": ("-march=armv8-a", "-mgeneral-regs-only", "-mno-outline-atomics"),
}
CORE_FLAGS = (
    "-std=gnu11",
    "-O2",
    *TARGET[MACHINE],
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-lto",
    "-U_FORTIFY_SOURCE",  # its checked functions are one C library's own
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
)

# What Python knows of the scanner is what these declare, up to where they tell of what is between
# the scanner's own files: nothing of it is repeated here. Each stands after those that it includes.
SHARED = tuple(
    f"native/scan/{name}.h"
    for name in (
        "decode",
        "operands",
        "links",
        "scan",
        "functions",
        "relocate",
        "ways",
        "asking",
        "execute",
        "explore",
    )
)

# What tells of these sources: cpuprobe.extension compares, where they are beside it.
INTERFACE = 0
for known in [*sorted(glob("native/scan/*.h")), "native/binding.py"]:
    with open(known, "rb") as known_file:
        INTERFACE = zlib.crc32(known_file.read(), INTERFACE)
INTERFACE &= (1 << 31) - 1

CDEF = """
enum { CPUPROBE_INTERFACE, ... };
int cpuprobe_native_observe(const char *root, const char *cpus, int execute, unsigned repeat,
                            int watched,
                            char **text, size_t *length, size_t *capacity, char reason[160]);
void cpuprobe_native_free(char *text, size_t capacity);
size_t cpuprobe_native_flags(unsigned wasmtime_major, char *out, size_t size);
enum error {
    ERROR_NONE, ERROR_INTERRUPTED, ERROR_CPU_LIST, ERROR_CPU_ABSENT, ERROR_ROOT, ...
};

extern "Python" int cpuprobe_native_interrupted(void);
extern "Python" void cpuprobe_native_progress(uint64_t done, uint64_t of);
"""

SOURCE = (
    f"""
enum {{ CPUPROBE_INTERFACE = {INTERFACE} }};
"""
    """
static int cpuprobe_native_interrupted(void);
static void cpuprobe_native_progress(uint64_t done, uint64_t of);
#include <errno.h>
#include <sys/auxv.h>
#include "core.h"
#include "flags.h"
#include "scan/asking.h"
#include "scan/execute.h"
#include "scan/explore.h"
#include "scan/functions.h"
#include "scan/links.h"
#include "scan/relocate.h"
#include "scan/scan.h"
#include "scan/ways.h"

static void
read_auxiliary(struct options *options)
{
    static const unsigned long entries[] = {
#define NUMBER(constant, number) number,
        EACH_AUXILIARY(NUMBER)
#undef NUMBER
    };

    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        uint64_t value;

        errno = 0;
        value = getauxval(entries[i]);
        if (errno != ENOENT)
            take_auxiliary(options, entries[i], value);
    }
}

static int
cpuprobe_native_observe(const char *root, const char *cpus, int execute, unsigned repeat,
                        int watched, char **text,
                        size_t *length, size_t *capacity, char reason[160])
{
    struct options options = {.root = root, .cpus = cpus, .execute = execute != 0,
                              .interrupted = cpuprobe_native_interrupted, .repeat = repeat};
    struct writer writer = {0};
    struct reason why;
    enum error error;

    _Static_assert(sizeof why.text == 160, "known to cdef");
    if (watched)
        options.progress = cpuprobe_native_progress;
    read_auxiliary(&options);
    error = cpuprobe_observe(&options, cpuprobe_candidates(), &writer, &why);
    copy_bytes(reason, why.text, sizeof why.text);
    *text = writer.text;
    *length = writer.length;
    *capacity = writer.capacity;
    return (int)error;
}

static void
cpuprobe_native_free(char *text, size_t capacity)
{
    struct writer writer = {.text = text, .capacity = capacity};

    release_writer(&writer);
}

/* The safe flags as name=value lines, and their length. 0 where there is more to say than that:
 * the wasmtime is not known, nothing can be measured, or a flag is off whose feature is no plain
 * absence. */
static size_t
cpuprobe_native_flags(unsigned wasmtime_major, char *out, size_t size)
{
#if ISA_JUDGES
    struct options options = {.root = "", .execute = true, .repeat = 1};
    const struct target target = find_wasmtime(wasmtime_major);
    struct writer writer = {0};
    struct survey survey;
    struct reason why;
    size_t length = 0;

    read_auxiliary(&options);
    if (target.wasmtime == NULL || wasmtime_major == 0 ||
        survey_machine(&options, cpuprobe_candidates(), &survey, &why) != ERROR_NONE)
        return 0;
    release(&survey.measurement);
    for (unsigned int i = 0; i < target.wasmtime->count; i++) {
        const unsigned int flag = target.wasmtime->flags[i];
        const enum flag_reason reason = judge_flag(&survey.verdict, target.wasmtime, flag);

        if (reason != FLAG_HOLDS && reason != FLAG_NO_HOST &&
            (reason != FLAG_UNSAFE || survey.verdict.state[flag_feature(flag)] != STATE_OF_ABSENT))
            return 0;
    }
    write_flags(&writer, &survey.verdict, &target, FORMAT_TEXT);
    if (!writer.failed && writer.length <= size) {
        length = writer.length;
        copy_bytes(out, writer.text, length);
    }
    release_writer(&writer);
    return length;
#else
    (void)wasmtime_major, (void)out, (void)size; /* it is all Python's to say */
    return 0;
#endif
}
"""
)


def declarations(header: str) -> str:
    """What a header declares, as cffi takes it: without comments, directives and code.

    What constants and lengths of arrays are, the compiler tells.

    Args:
        header: its text. Code is of functions that begin `static inline` and end with a brace at
            the start of a line, as clang-format puts it.
    """
    text = header.partition("/* --- between the files of this")[0]
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    text = re.sub(r"^[ \t]*#(?:.*\\\n)*.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^static inline\b[^;{]*\{.*?^\}$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\[[^\]]*[A-Z][^\]]*\]", "[...]", text)
    text = re.sub(r"[^;{}]*\]\[\.\.\.\][^;]*;", " ...;", text)  # which cffi cannot say
    return re.sub(r"\benum\b[^;{()]*\{[^}]*\}", _left_open, text)


def _left_open(enum: re.Match[str]) -> str:
    """An enumeration without its values."""
    head, _, body = enum[0].partition("{")
    return f"{head}{{{re.sub(r'=[^,}]*', '', body[:-1]).rstrip().rstrip(',')}, ...}}"


builder = cffi.FFI()
builder.cdef(CDEF)
for shared in SHARED:
    with open(shared, encoding="ascii") as file:
        builder.cdef(declarations(file.read()))
builder.set_source(
    "cpuprobe._native",
    SOURCE,
    sources=[*CORE, *SCANNER],
    depends=HEADERS,
    include_dirs=["native", ISA],
    extra_compile_args=list(CORE_FLAGS),
    # Linked with no C library: the two symbols that it takes of one are those of the running
    # Python, be that glibc's or musl's, and one wheel serves both.
    extra_link_args=["-nostdlib"],
)
