/*
 * libcpuprobe: which CPU features really work here, and which flags are therefore safe for
 * wasmtime.
 *
 * For programs that embed a runtime. Every instruction is executed in a child process under a
 * guard, on every CPU that this process may run on, and what faults or computes wrongly is not
 * safe.
 *
 * The functions may be called from any thread at any time, from several at once, whatever signal
 * handlers, masks and vector state the program has: they keep no state and no memory, change
 * nothing of the process, and the child is reaped without a SIGCHLD (under Linux; the user-mode
 * emulator of QEMU knows no such children). They need 64 KiB of stack and no libc.
 */
#ifndef CPUPROBE_H
#define CPUPROBE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with each addition; nothing is ever taken away or changes its meaning. */
#define CPUPROBE_API 1

/* What a function returns where it fails; cpuprobe_error_text() has the words. */
enum cpuprobe_error {
    CPUPROBE_CANNOT_MEASURE =
        -1, /* a sandbox or a limit denies a system call, or the child is killed */
    CPUPROBE_NO_MEMORY = -2,
    CPUPROBE_TOO_SMALL = -3,        /* the text does not fit; nothing of use was written */
    CPUPROBE_UNKNOWN_WASMTIME = -4, /* this major version was never measured */
    CPUPROBE_BAD_ARGUMENT = -5,
};

/* Enough for the flags of any version, and for the observation of a machine whose CPUs are alike.
 */
#define CPUPROBE_FLAGS_BYTES 1024
#define CPUPROBE_JSON_BYTES 262144

/*
 * Writes the flags that are safe for a version of wasmtime, as lines `name=true` or `name=false`
 * and a NUL: each flag that it knows, and no other. They are for an engine whose target is pinned
 * to x86_64-unknown-linux-gnu, so that it infers nothing from CPUID.
 *
 * wasmtime_major: 3 to 50, but 26 (which PyPI never had); 0 is the newest that this library knows.
 * out, size: where to write; CPUPROBE_FLAGS_BYTES are enough.
 *
 * Returns the length without the NUL, or a negative error. On an error no flag is safe: compile for
 * Pulley (the interpreter, target pulley64), or with every flag false.
 */
long cpuprobe_safe_flags(unsigned int wasmtime_major, char *out, size_t size);

/*
 * The same, from a file if it has the answer, else measured and written to that file.
 *
 * The file is believed only where it is a regular file of this user's that nobody else may write,
 * whole, and of this CPU, microcode, kernel, command line, boot, set of allowed CPUs and version of
 * this library. A file that cannot be read or written costs time and nothing else.
 */
long cpuprobe_safe_flags_cached(const char *path, unsigned int wasmtime_major, char *out,
                                size_t size);

/*
 * The psABI level of what is safe: 1 to 4 for x86-64-v1 to x86-64-v4, 0 below; or a negative
 * error.
 */
long cpuprobe_level(void);

/*
 * Writes everything that was measured, as the JSON document of cpuprobe-native and a NUL, which
 * `cpuprobe inspect` reads on any machine. Returns the length without the NUL, or a negative error.
 */
long cpuprobe_observe_json(char *out, size_t size);

/* What is measured, and where the kernel's files lie. Zero it, and set `size`. */
struct cpuprobe_options {
    size_t size;           /* sizeof(struct cpuprobe_options), as the program was compiled */
    const char *cpus;      /* only these, e.g. "0-3,8"; NULL: all that are allowed */
    const char *root;      /* prefix of /proc and /sys; NULL: none */
    int no_exec;           /* read CPUID and XCR0 only: then nothing is proved */
    unsigned int wasmtime; /* major version, 0: the newest known */
};

/* What was found. Set `size`; what the library does not know of it stays as it is. */
struct cpuprobe_verdict {
    size_t size;           /* sizeof(struct cpuprobe_verdict), as the program was compiled */
    int level;             /* as cpuprobe_level() has it; -1: too little is known */
    int mismatch;          /* not 0: something that is claimed here does not work */
    unsigned int wasmtime; /* major version that the flags are for */
    char flags[CPUPROBE_FLAGS_BYTES]; /* as cpuprobe_safe_flags() writes them */
};

/* Measures and judges. options may be NULL. Returns 0 or a negative error. */
long cpuprobe_judge(const struct cpuprobe_options *options, struct cpuprobe_verdict *verdict);

/* One line on an error, in English, without a full stop. Never NULL. */
const char *cpuprobe_error_text(long error);

/* The version of the library, say "0.2.0". */
const char *cpuprobe_version(void);

#ifdef __cplusplus
}
#endif

#endif
