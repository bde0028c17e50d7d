"""The cffi definition of `cpuprobe._native`: three functions around the freestanding core.

Run by setup.py through cffi's setuptools hook (`cffi_modules`).
"""

from glob import glob

import cffi

ISA = "native/isa/x86_64"
# Relative to the checkout, where setuptools runs this; the executable's own files are left out.
CORE = sorted(
    {*glob("native/*.c"), *glob(f"{ISA}/*.c"), *glob(f"{ISA}/candidates/*.c")}
    - {
        "native/main.c",
        f"{ISA}/start.c",
    }
)
HEADERS = sorted([*glob("native/*.h"), *glob(f"{ISA}/**/*.h", recursive=True)])

# x86-64 and nothing more, whatever CFLAGS this Python was built with: the core runs where the CPU
# lies about everything else. No stack protector: it needs thread-local storage that a raw child
# process need not have. No LTO: it could merge the core with code compiled for more.
CORE_FLAGS = (
    "-std=gnu11",
    "-O2",
    "-march=x86-64",
    "-mtune=generic",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-lto",
    "-U_FORTIFY_SOURCE",  # its checked functions are one C library's own
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
)

CDEF = """
int cpuprobe_native_observe(const char *root, const char *cpus, int execute, unsigned repeat,
                            int watched,
                            char **text, size_t *length, size_t *capacity, char reason[160]);
void cpuprobe_native_free(char *text, size_t capacity);
enum error {
    ERROR_NONE, ERROR_INTERRUPTED, ERROR_CPU_LIST, ERROR_CPU_ABSENT, ERROR_ROOT, ...
};
extern "Python" int cpuprobe_native_interrupted(void);
extern "Python" void cpuprobe_native_progress(uint64_t done, uint64_t of);
"""

SOURCE = """
static int cpuprobe_native_interrupted(void);
static void cpuprobe_native_progress(uint64_t done, uint64_t of);
#include <errno.h>
#include <sys/auxv.h>
#include "core.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

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
    options.minsigstksz = getauxval(AT_MINSIGSTKSZ);
    errno = 0;
    options.hwcap2 = getauxval(AT_HWCAP2);
    options.hwcap2_known = errno != ENOENT;
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
"""

builder = cffi.FFI()
builder.cdef(CDEF)
builder.set_source(
    "cpuprobe._native",
    SOURCE,
    sources=CORE,
    depends=HEADERS,
    include_dirs=["native"],
    extra_compile_args=list(CORE_FLAGS),
    # Linked with no C library: the two symbols that it takes of one are those of the running
    # Python, be that glibc's or musl's, and one wheel serves both.
    extra_link_args=["-nostdlib"],
)
