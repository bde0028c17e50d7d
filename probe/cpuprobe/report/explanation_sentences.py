"""The sentences of `cpuprobe explain`: one for each verdict and reason. Data."""

from __future__ import annotations

from collections.abc import Mapping

EMULATORS: Mapping[str, str] = {
    "qemu": "QEMU",
    "kvm": "KVM's emulator",
    "valgrind": "Valgrind",
    "box64": "Box64",
    "rosetta": "Rosetta",
    "sde": "Intel SDE",
    "bhyve": "bhyve's emulator",
    "unicorn": "Unicorn",
}
ISAS: Mapping[str, str] = {
    "aarch64": "AArch64 (arm64)",
    "arm": "32-bit Arm (Armv7 and older)",
    "riscv64": "RISC-V",
    "ppc64": "POWER (ppc64)",
    "ppc": "PowerPC (32-bit)",
    "s390x": "s390x",
    "mips": "MIPS",
    "loongarch64": "LoongArch",
    "i386": "i386",
    "x86-64": "x86-64",
}
STATES = {
    "absent": "not there",
    "withheld": "in the CPU but withheld",
    "broken": "claimed but broken",
    "hidden": "denied by CPUID though the silicon has it",
    "gated": "locked until the program asks for permission",
    "uneven": "not on all CPUs",
    "unverified": "not proven",
    "usable": "there, but something it builds on is not",
    "unknown": "not known",
}
NOT_MISSING = "Not a missing feature."

# By verdict and reason; {signal}, {value}, {name} (the mnemonic), {module} and {lead} are replaced.
SENTENCES: Mapping[tuple[str, str], str] = {
    ("sent", ""): "{signal} was sent (by kill, raise, abort or the kernel): no instruction raised "
    f"it. {NOT_MISSING}",
    ("data", "not executable"): "The memory at the instruction pointer is not executable: what was "
    "executed is no code, the program jumped to a wrong place. Not an ISA problem.",
    ("data", "not fetched"): "No code is at the instruction pointer: the program jumped to a wrong "
    "place. Not an ISA problem.",
    ("data", "zeros"): "All bytes are zero: that is no code, the program jumped to a wrong place "
    "or its file is damaged. Not an ISA problem.",
    ("data", "ones"): "All bytes are FFH: that is no code, the program jumped to a wrong place. "
    "Not an ISA problem.",
    ("data", "text"): "The bytes are text: that is no code, the program jumped to a wrong place. "
    "Not an ISA problem.",
    ("trap", "ud2"): "A trap on purpose: the program ended itself (abort, a failed check, "
    f"`unreachable`, __builtin_trap, Rust's abort, a CHECK of V8). {NOT_MISSING}",
    ("trap", "sanitizer"): "A trap on purpose, as clang puts for its sanitizers (-fsanitize-trap). "
    + NOT_MISSING,
    (
        "trap",
        "fast fail",
    ): "A fast fail of Windows (INT 29H): the program or a library found itself "
    f"damaged and ended at once. {NOT_MISSING}",
    ("trap", "abort by name"): "It died in {value}, with which programs end themselves. "
    + NOT_MISSING,
    ("trap", "wasm trap"): "A trap on purpose, in the code of a WebAssembly engine: a wasm trap, "
    "which the engine turns into an error unless another library has taken its SIGILL handler. "
    + NOT_MISSING,
    ("breakpoint", ""): "A breakpoint: the program, its padding or a debugger put it there. "
    + NOT_MISSING,
    ("privileged", ""): "{name} is for the kernel alone: in a program it faults on every CPU. "
    + NOT_MISSING,
    ("privileged", "privileged status"): "{signal}: an instruction for the kernel alone, which "
    f"faults in a program on every CPU. {NOT_MISSING}",
    ("undecodable", ""): "No instruction that is known: data executed by mistake, a jump into the "
    "middle of an instruction, or an extension that is newer than the tables.",
    ("undecodable", "cut short"): "The bytes end inside of an instruction: give all of it (up to "
    "15).",
    ("unknown", "no row"): "It needs {other}, which cpuprobe does not probe: whether {machine} has "
    "it is not known.",
    ("unknown", "no word"): "It needs no feature that cpuprobe knows: every CPU of its instruction "
    "set has it, or it is no instruction.",
    ("unknown", "machine untold"): "It needs {needs}; what is known of {machine} does not say "
    "whether it has that.",
    ("arithmetic", ""): "A division by zero, or its result is too large. Not an ISA problem.",
    ("baseline", ""): "Every x86-64 CPU has this instruction: not an ISA problem.",
    ("baseline", "hint"): "CPUs that lack this hint execute it as a NOP: not an ISA problem.",
    ("baseline", "illegal all the same"): "Every x86-64 CPU has this instruction: not an ISA "
    "problem. If it raised {signal} all the same, the bytes at hand are not those that "
    "ran (another "
    "version of the file, code changed at run time), or an emulator is at fault.",
    ("baseline", "not on every i386"): "It needs {value}, which every x86-64 CPU has and an older "
    "one of 32 bits may lack. If this one is x86-64, the bytes at hand are not those that ran, or "
    "an emulator is at fault.",
    (
        "alignment",
        "operand known",
    ): "{lead} operand at {value} is not aligned to {alignment} bytes, "
    "as {name} demands. Not a missing feature: a bug in the program or its compiler.",
    ("alignment", "operand unknown"): "{lead} address is bad, or not aligned to {alignment} bytes "
    f"as {{name}} demands; the registers would tell. {NOT_MISSING}",
    ("memory", "taken"): "The CPU accepted the instruction (a missing feature raises SIGILL): the "
    f"address it used is bad. {NOT_MISSING}",
    ("always-invalid", "prefix"): "{value} before VEX or EVEX raises #UD on every CPU, whatever "
    "features it has (SDM vol. 2A, 2.3.2 to 2.3.4): an assembler or a JIT compiler wrote a wrong "
    "instruction. No feature is missing.",
    ("always-invalid", "vector length"): "{name} with VEX.L={value} raises #UD on every CPU, "
    "whatever features it has: an assembler or a JIT compiler wrote a wrong "
    "instruction. No feature "
    "is missing.",
    (
        "always-invalid",
        "vvvv",
    ): "{name} has no operand in VEX.vvvv, which is not 1111b here: #UD on "
    "every CPU, whatever features it has. An assembler or a JIT compiler wrote a wrong "
    "instruction. "
    "No feature is missing.",
    ("always-invalid", "lock"): "LOCK before an instruction that does not write memory, or may not "
    "be locked, raises #UD on every CPU: data executed by mistake, or a wrong instruction. No "
    "feature is missing.",
    ("always-invalid", "64-bit mode"): "{value} begins no instruction in 64-bit mode: #UD on every "
    "CPU (SDM vol. 2D, table A-2). Data executed by mistake, a jump into the middle of an "
    f"instruction, or 32-bit code. {NOT_MISSING}",
    ("always-invalid", "permanently"): "UDF is undefined on every CPU, for ever: a trap on "
    f"purpose, or data executed by mistake. {NOT_MISSING}",
    ("always-invalid", "operands"): "These operands raise #UD on every CPU, whatever features it "
    "has: an assembler or a JIT compiler wrote a wrong instruction. No feature is missing.",
    ("no-code", "illegal"): "{signal}: an instruction that this CPU does not execute, or a trap on "
    "purpose (UD2). Which one, the bytes at the crash will tell.",
    ("no-code", "emulator refused"): "{emulator} ended the program at an instruction that it does "
    "not execute. That says nothing of what the CPU underneath has.",
    ("no-code", "no signal"): "No signal and no bytes of code: nothing says that an instruction "
    "died.",
    ("no-code", "not started"): "A shell says 126 of a program that it could not start, and 127 of "
    "one that it did not find; the dynamic loader ends with 127 what it refuses (a library is "
    "missing, or the psABI level of the CPU is too low). The words on standard error tell which.",
    ("no-code", "own exit code"): "No signal ended it: the exit code is the program's own.",
    ("no-code", "other signal"): "{signal} is not raised by a missing instruction.",
    (
        "kernel-warning",
        "",
    ): "A warning of the kernel: it reported something and went on. No program "
    "died of this, and no instruction is missing.",
    ("kernel-crash", ""): "The kernel itself stopped here, or one of its tasks: no program is to "
    "blame.",
}
# The same where the bytes are not known.
WITHOUT_BYTES: Mapping[str, str] = {
    "memory": "{signal}: a bad address, seldom a missing feature (only a privileged instruction or "
    "a misaligned vector operand look the same).",
    "breakpoint": f"{{signal}}: a breakpoint (INT3). {NOT_MISSING}",
    "arithmetic": "{signal}: a division by zero or too large. Not an ISA problem.",
}
NOTES: Mapping[str, str] = {
    "exit code of its own": "exit code {}: no signal ended it",
    "fetch fault": "the fault was the fetch of the instruction: no code is there",
    "core cut short": "the core is cut short (a limit on its size, a full disk)",
    "pointer mapped nowhere": "the instruction pointer is mapped nowhere: the program jumped to no "
    "code",
    "another file at hand": "{} at hand is not the file that crashed: give it with --exe",
    "no code in the core": "the core holds no code of {}: give that file with --exe",
    "no code in the dump": "the dump holds no code at the crash: give {} with --exe",
    "bytes of a file at hand": "the bytes are those of {} at hand, which may be another version",
    "file wanted": "the instruction is in {}: give that file with --exe",
    "in the kernel's": "in the kernel's {}",
}
