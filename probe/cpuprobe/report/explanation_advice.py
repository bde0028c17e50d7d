"""What to do about a crash, in words. Pure.

A line that begins with two blanks is a command, or a setting: it can be pasted as it is.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

from cpuprobe.crash.model import Advice, Judged
from cpuprobe.facts.hypervisors import hypervisor_called
from cpuprobe.report.explanation_sentences import EMULATORS, ISAS
from cpuprobe.words import names, plain

_BYTES: Mapping[str, tuple[str, ...]] = {
    "linux": (
        "The instruction itself is not known yet. On the machine that crashed:",
        "  dmesg | cpuprobe explain --exe PROGRAM -",
        "  coredumpctl dump -o core PID && cpuprobe explain --core core",
        "  ulimit -c unlimited; PROGRAM; cpuprobe explain --core core",
        "  gdb -batch -ex run -ex 'x/16xb $pc' PROGRAM | cpuprobe explain -",
    ),
    "freebsd": (
        "The instruction itself is not known yet. On the machine that crashed:",
        "  gdb -batch -ex 'x/16xb $pc' PROGRAM PROGRAM.core | cpuprobe explain -",
    ),
    "windows": (
        "The instruction itself is not known yet. On the machine that crashed, have a dump made:",
        '  reg add "HKLM\\SOFTWARE\\Microsoft\\Windows\\Windows Error Reporting\\LocalDumps" /f',
        "  procdump -ma -e PROGRAM.exe",
        "the dump of the next crash lies in %LOCALAPPDATA%\\CrashDumps, or where procdump ran:",
        "  cpuprobe explain --minidump PROGRAM.dmp",
        "or in WinDbg, and give the output to cpuprobe explain -:",
        "  .ecxr; u @rip L1; lm a @rip",
    ),
    "macos": (
        "The instruction itself is not known yet. The report is in Console, or on disk:",
        "  cpuprobe explain ~/Library/Logs/DiagnosticReports/PROGRAM.ips",
        "  lldb -b -o run -k 'x/16xb $pc' -- PROGRAM | cpuprobe explain -",
    ),
    "firmware": (
        "The instruction itself is not known yet. It stands in the image, at RIP less its base;",
        "in QEMU with -s, at the address that was printed:",
        "  gdb -batch -ex 'target remote :1234' -ex 'x/16xb ADDRESS' | cpuprobe explain -",
    ),
    "android": (
        "The instruction itself is not known yet. The tombstone has it:",
        "  adb logcat -b crash -d | cpuprobe explain -",
    ),
}
# A dump that is at hand and has not the code: no other dump of that machine need have it.
_OF_A_DUMP: Mapping[str, tuple[str, ...]] = {
    "core file": (
        "The core lacks the code. The file that it was loaded from has it, if it is that version:",
        "  cpuprobe explain --core CORE --exe {}",
        "  gdb -batch -ex 'x/16xb $pc' {} CORE | cpuprobe explain -",
    ),
    "minidump": (
        "The dump lacks the code. The file that it was loaded from has it, if it is that version:",
        "  cpuprobe explain --minidump DUMP --exe {}",
    ),
}


def lines(answer: Judged) -> list[str]:
    """All advice, a line each."""
    return [line for each in answer.advice for line in _WORDS[each.kind](each, answer)]


def _one(words: str) -> Callable[[Advice, Judged], Iterator[str]]:
    """Advice whose words need only its values."""

    def write(advice: Advice, _: Judged) -> Iterator[str]:
        yield words.format(*(plain(value) for value in advice.values))

    return write


def _virtual_machine(advice: Advice, _: Judged) -> Iterator[str]:
    yield (
        f"a guest of {plain(hypervisor_called(advice.values[0]))}: choose a CPU model that has it "
        "(Proxmox, QEMU, libvirt: host, or x86-64-v3 where that is all it needs)"
    )


def _get_bytes(advice: Advice, answer: Judged) -> Iterator[str]:
    system, crash = advice.values[0], answer.crash
    if crash.source in _OF_A_DUMP:
        module = "PROGRAM" if crash.module is None else shlex.quote(plain(crash.module))
        yield from (line.format(module) for line in _OF_A_DUMP[crash.source])
        return
    found = _BYTES[system if system in _BYTES else "linux"]
    # Where a log has told all it knows, only a core or a debugger has more.
    told = crash.source == "kernel log"
    yield from (line for line in found if not (told and line.startswith("  dmesg")))


def _options(flags: Sequence[str]) -> Iterator[str]:
    """`-C name=value` after each other; whoever shows them breaks lines between two options."""
    yield f"  {' '.join(f'-C cranelift-{flag}=false' for flag in flags)}"


def _flags(advice: Advice, _: Judged) -> Iterator[str]:
    yield "wasmtime, command line:"
    yield from _options(advice.values)
    yield f'wasmtime, API: config.cranelift_flag_set(FLAG, "false") for {names(advice.values)}'


def _perhaps(advice: Advice, _: Judged) -> Iterator[str]:
    yield "nothing tells which program it was. If wasmtime made the code:"
    yield from _options(advice.values)


def _elsewhere(advice: Advice, _: Judged) -> Iterator[str]:
    yield "wasmtime, where it is missing:"
    yield from _options(advice.values)


def _all_off(advice: Advice, _: Judged) -> Iterator[str]:
    machine, capture = advice.values
    if machine and not capture:
        yield "all that is not safe there, once the machine's text is saved as FILE:"
        yield "  cpuprobe flags --only-off --on FILE"
        return
    if capture:
        yield "all that is not safe there:"
        yield f"  cpuprobe flags --only-off --on {shlex.quote(plain(capture))}"
    else:
        yield "all that is not safe there: cpuprobe flags --only-off"


def _without(advice: Advice, _: Judged) -> Iterator[str]:
    yield f"use a build of the program that does without {names(advice.values)}"


def _made_by(advice: Advice, _: Judged) -> Iterator[str]:
    yield f"the code was made at run time, in this process by {names(advice.values)}:"


def _knob(advice: Advice, _: Judged) -> Iterator[str]:
    line = advice.values[0]
    yield line.strip() if line.startswith("  ") else f"  {line}"  # a limit is a sentence


def _kernel(advice: Advice, _: Judged) -> Iterator[str]:
    function = f" ({plain(advice.values[1])})" if advice.values[1] else ""
    module = f" or leave out its module {plain(advice.values[2])}" if advice.values[2] else ""
    if advice.values[0] == "kernel-warning":
        yield f"search for the first line of the warning{function}; report it to the distribution"
    else:
        yield f"update the kernel{module}; report it to the distribution{function}"


def _emulator(advice: Advice, _: Judged) -> Iterator[str]:
    kind = advice.values[0]
    yield {
        "qemu": "give QEMU a CPU that has it (-cpu max, QEMU_CPU=max), a newer QEMU, or a build "
        "for the host's own instruction set",
        "kvm": "the guest ran code from memory that KVM has to emulate: update the kernel and QEMU "
        "of the host, or look for a wild jump in the guest",
        "valgrind": "Valgrind does not know it: use a newer one, or build without that extension "
        "(-march=x86-64-v2)",
        "box64": "update Box64, or report the opcode to its authors",
        "sde": "give SDE a chip that has it (sde64 -future), or build for the chip that was named",
        "rosetta": "use a native arm64 build, or one that does not need it",
    }.get(kind, f"update {EMULATORS.get(kind, kind)}")


def _foreign(advice: Advice, answer: Judged) -> Iterator[str]:
    isa = advice.values[0]
    if isa == "aarch64" and any(each.decoded.features for each in answer.instructions):
        yield "whether its CPU has it: --on FILE, with that machine's /proc/cpuinfo or report"
    elif isa == "aarch64":
        yield "what that CPU has: the Features line of its /proc/cpuinfo"
    elif isa:
        yield f"look the instruction up for {ISAS.get(isa, isa)}"


_WORDS: Mapping[str, Callable[[Advice, Judged], Iterator[str]]] = {
    "get bytes": _get_bytes,
    "wasmtime flags": _flags,
    "wasmtime perhaps": _perhaps,
    "wasmtime elsewhere": _elsewhere,
    "wasmtime none": _one("wasmtime {} has no flag for this, and emits no such code"),
    "all off": _all_off,
    "compile anew": _one("then compile {} anew: its flags are part of it"),
    "other build": _one(
        "{} is compiled code in a file: use a build of it for {}, or the setting of that library "
        "if it has one"
    ),
    "other build of all": _one("use a build of the program for {}, if there is one"),
    "build without": _without,
    "made by": _made_by,
    "maker unknown": _one(
        "the code was made at run time; which runtime made it is not told, it has the setting"
    ),
    "knob": _knob,
    "remedy": _one("remove the cause: {}"),
    "kernel": _kernel,
    "emulator": _emulator,
    "virtual machine": _virtual_machine,
    "report the encoding": _one(
        "report the bytes to the authors of what made the code; no flag or other CPU helps"
    ),
    "lower level": _one(
        "use an image or a distribution whose baseline is {} or lower; no setting lifts the check"
    ),
    "precompile": _one(
        "compile the module on this host, or for all hosts: wasmtime compile --target x86_64 with "
        "the flags of cpuprobe flags"
    ),
    "foreign": _foreign,
}
