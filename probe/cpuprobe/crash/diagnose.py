"""A crash and an assessed machine -> what died and what to do about it. Pure but for the decoder.

The questions come in the order in which a CPU asks them: was it an instruction at all that raised
the signal, was there code, is it an instruction, does the CPU have it, and only then whether its
operands were good. #UD comes before every fault of an operand (SDM vol. 3A, table 7-2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from cpuprobe.assessment.model import Assessment, FeatureAssessment, Finding
from cpuprobe.code.assembly import read_line
from cpuprobe.code.decode import NEVER_FAULTS, Decoded, decode
from cpuprobe.crash.answer import Explanation, FeatureAnswer, InstructionAnswer, Verdict
from cpuprobe.emit.knobs import advice as setting_advice
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.evidence.crashes.status import ARITHMETIC, ILLEGAL, MEMORY, SENT, TRAP
from cpuprobe.facts.features import load_features
from cpuprobe.facts.runtimes import Runtime, runtime_of_module
from cpuprobe.words import names

Machine = Callable[[], Assessment]

_ARTIFACTS = (".cwasm", ".clif", ".wasm")
# Runtimes of profiles/knobs.toml that make code while the program runs.
_MAKE_CODE = frozenset({"wasmtime", "wasmer", "dotnet", "jvm", "node", "bun", "onednn"})
_GRAVITY = {"error": 0, "warning": 1, "info": 2}
_HERE = "this machine"
_DATA = "what was executed is no code"


def diagnose(crash: Crash, machine: Machine, machine_name: str = _HERE) -> Explanation:
    """What a crash was.

    Args:
        crash: as its record tells it.
        machine: gives the assessment of the machine it is judged on; asked only if the
            instruction needs something that not every x86-64 CPU has.
        machine_name: how that machine is called in the words of the answer.

    Raises:
        CannotMeasureError: iced-x86 is not installed, or `machine` cannot be measured.
    """
    registers = {} if crash.sequence else crash.registers
    decoded = decode(crash.code, sequence=crash.sequence, registers=registers)
    ways: tuple[Decoded, ...] = ()
    if not decoded and crash.text:
        ways = read_line(crash.text, registers)
        decoded, ways = ways[:1], ways[1:]
    notes = [*crash.notes]
    if len(decoded) > 1 and decoded[-1].kind == "incomplete":
        notes.append(f"{len(decoded[-1].code)} bytes at the end are a part of an instruction")
        decoded = decoded[:-1]
    needed = _needed(decoded)
    assessment = machine() if needed and not _sent(crash) else None
    features = () if assessment is None else _features(needed, assessment)
    verdict, summary = _verdict(crash, decoded, features, machine_name)
    lacking = [each for each in features if not each.safe]
    flags = {}
    advice: list[str] = []
    if assessment is not None and verdict in ("lacks", "has"):
        flags = _flags(lacking, assessment)
        runtimes = _runtimes(crash)
        if lacking:
            advice = _advice(crash, lacking, flags, assessment, runtimes)
            if flags and any("cranelift" in line for line in advice):
                where = "" if machine_name == _HERE else f" --from {machine_name}"
                advice.append(f"all that is not safe there: cpuprobe flags --only-off{where}")
        elif crash.signal in ILLEGAL:
            there = _flags(features, assessment)
            advice = [f"wasmtime, where it is missing: {_words(there)}"] if there else []
        advice += _knobs(runtimes, [each.name for each in lacking or features])
    elif verdict == "no-code" and crash.signal in ILLEGAL:
        # Where a log has told all it knows, only a core or a debugger has more.
        advice = [x for x in _HOW_TO_GET_THE_BYTES if "dmesg" not in x or crash.source == "status"]
    for each in decoded:
        if each.mnemonic in NEVER_FAULTS:
            notes.append(
                f"{each.mnemonic} never faults: a CPU that lacks it runs "
                f"{NEVER_FAULTS[each.mnemonic]} instead, with another result"
            )
        if each.features == ("apxf",):
            notes.append("an APX encoding, which the decoder cannot spell")
    if crash.source == "bytes" and decoded and decoded[0].kind == "undecodable":
        notes.append("were these bytes copied from the middle of an instruction?")
    return Explanation(
        source=crash.source,
        verdict=verdict,
        summary=summary,
        signal=crash.signal,
        module=crash.module,
        offset=crash.offset,
        jit=None if crash.anonymous is None else crash.anonymous and crash.executable is not False,
        instructions=tuple(_instruction(each) for each in decoded),
        ways=tuple(map(_instruction, ways)),
        features=features,
        flags=flags,
        advice=tuple(advice),
        notes=tuple(dict.fromkeys(notes)),
    )


_HOW_TO_GET_THE_BYTES = (
    "The instruction itself is not known yet. On the machine that crashed:",
    "  dmesg | cpuprobe explain --log - --exe PROGRAM     the kernel's line says where it was",
    "  coredumpctl dump -o core PID && cpuprobe explain --core core     where systemd keeps cores",
    "  ulimit -c unlimited; run it again; cpuprobe explain --core core     elsewhere",
    "  gdb -ex run -ex 'x/16xb $pc' PROGRAM, and give the output to cpuprobe explain --log -",
)


def _needed(decoded: Iterable[Decoded]) -> tuple[str, ...]:
    wanted = {
        name for each in decoded if each.kind in ("feature", "hint") for name in each.features
    }
    return tuple(name for name in load_features() if name in wanted)


def _instruction(decoded: Decoded) -> InstructionAnswer:
    return InstructionAnswer(
        bytes=decoded.code.hex(),
        kind=decoded.kind,
        intel=decoded.intel,
        att=decoded.att,
        features=decoded.features,
        other=decoded.other,
    )


def _sent(crash: Crash) -> bool:
    return crash.sent or crash.signal in SENT


# --- the verdict ---


def _verdict(
    crash: Crash, decoded: Sequence[Decoded], features: Sequence[FeatureAnswer], machine: str
) -> tuple[Verdict, str]:
    if _sent(crash):
        return "sent", (
            f"{crash.signal or 'The signal'} was sent (by kill, raise, abort or the kernel): no "
            "instruction raised it. Not a missing feature."
        )
    if not decoded:
        return _without_code(crash)
    data = _data(crash)
    if data is not None:
        return "data", f"{data}: {_DATA}, the program jumped to a wrong place. Not an ISA problem."
    if all(each.kind != "feature" for each in decoded):
        return _plain(crash, decoded)
    if decoded[-1].kind in ("undecodable", "incomplete") and len(decoded) == 1:
        return _plain(crash, decoded)
    if crash.signal in MEMORY:
        return _memory(crash, decoded[0], ran=True)
    lacking = [each for each in features if not each.safe]
    needs = f"It needs {names([each.name for each in features if _counts(each, decoded)])}"
    if not lacking:
        more = "."
        if crash.signal in ILLEGAL:
            more = (
                ": so it died on another machine (give its report with --on), or the bytes at hand "
                "are not those that ran."
            )
        return "has", f"{needs}; {machine} has all of that{more}"
    return "lacks", f"{needs}; on {machine} {_states(lacking)}."


def _counts(feature: FeatureAnswer, decoded: Sequence[Decoded]) -> bool:
    return any(feature.name in each.features for each in decoded)


_STATE_WORDS = {
    "absent": "not there",
    "withheld": "in the CPU but withheld",
    "broken": "claimed but broken",
    "hidden": "denied by CPUID though the silicon has it",
    "gated": "locked until the program asks for permission",
    "uneven": "not on all CPUs",
    "unverified": "not proven",
    "usable": "there, but something it builds on is not",
}


def _states(lacking: Sequence[FeatureAnswer]) -> str:
    groups: dict[str, list[str]] = {}
    for each in lacking:
        groups.setdefault(_STATE_WORDS[each.state], []).append(each.name)
    return ", ".join(
        f"{names(each)} {'is' if len(each) == 1 else 'are'} {words}"
        for words, each in groups.items()
    )


def _without_code(crash: Crash) -> tuple[Verdict, str]:
    if crash.signal in ILLEGAL:
        return "no-code", (
            f"{crash.signal}: an instruction that this CPU does not execute, or a trap on purpose "
            "(UD2). Which one, the bytes at the crash will tell."
        )
    if crash.executable is False:
        return "data", f"No code is at the instruction pointer: {_DATA}. Not an ISA problem."
    if crash.signal in MEMORY:
        return "memory", (
            f"{crash.signal}: a bad address, seldom a missing feature (only a privileged "
            "instruction or a misaligned vector operand look the same)."
        )
    if crash.signal in TRAP:
        return "breakpoint", f"{crash.signal}: a breakpoint (INT3). Not a missing feature."
    if crash.signal in ARITHMETIC:
        return "arithmetic", f"{crash.signal}: a division by zero or too large. Not an ISA problem."
    if crash.signal is None:
        return "no-code", "No signal and no bytes of code: nothing says that an instruction died."
    return "no-code", f"{crash.signal} is not raised by a missing instruction."


def _data(crash: Crash) -> str | None:
    """What the bytes look like, if they are data rather than code; asked of crashes only."""
    start = crash.code[:16]
    if crash.source in ("bytes", "assembler line", "listing"):
        return None
    if crash.executable is False:
        return "the memory at the instruction pointer is not executable"
    if len(start) < 8:
        return None
    if not any(start):
        return "all bytes are zero"
    if all(byte == 0xFF for byte in start):
        return "all bytes are FFH"
    if all(0x20 <= byte < 0x7F or byte in b"\t\n\r" for byte in start) and len(start) == 16:
        return "the bytes are text"
    return None


def _plain(crash: Crash, decoded: Sequence[Decoded]) -> tuple[Verdict, str]:
    """Everything that needs no feature of the table."""
    one = next((each for each in decoded if each.kind not in ("baseline", "hint")), decoded[0])
    if one.kind == "trap":
        return "trap", _trap(crash, one)
    if one.kind == "breakpoint":
        return "breakpoint", (
            "A breakpoint: the program, its padding or a debugger put it there. Not a missing "
            "feature."
        )
    if one.kind == "privileged":
        return "privileged", (
            f"{one.mnemonic} is for the kernel alone: in a program it raises SIGSEGV on every CPU. "
            "Not a missing feature."
        )
    if one.kind == "incomplete":
        return "undecodable", "The bytes end inside of an instruction: give all of it (up to 15)."
    if one.kind == "undecodable":
        return "undecodable", (
            "No instruction that the decoder knows: data executed by mistake, a jump into the "
            "middle of an instruction, or an extension newer than the decoder (iced-x86)."
        )
    if one.kind == "unknown":
        return "unknown", (
            f"It needs {names(one.other)}, which cpuprobe does not probe: whether this machine has "
            "it is not known."
        )
    if crash.signal in MEMORY:
        return _memory(crash, one, ran=False)
    if crash.signal in ARITHMETIC:
        return "arithmetic", "A division by zero, or its result is too large. Not an ISA problem."
    everywhere = "Every x86-64 CPU has this instruction"
    if one.kind == "hint":
        everywhere = "CPUs that lack this hint execute it as a NOP"
    if crash.signal in ILLEGAL:
        return "baseline", (
            f"{everywhere}: not an ISA problem. If it raised {crash.signal} all the same, the "
            "bytes at hand are not those that ran (another version of the file, code changed at "
            "run time), or an emulator is at fault."
        )
    return "baseline", f"{everywhere}: not an ISA problem."


def _trap(crash: Crash, one: Decoded) -> str:
    who = (
        "A trap on purpose: the program ended itself (abort, a failed check, `unreachable`, "
        "__builtin_trap, Rust's abort, a CHECK of V8). Not a missing feature."
    )
    if one.mnemonic == "UD1":
        who = (
            "A trap on purpose, as clang puts for its sanitizers (-fsanitize-trap). Not a missing "
        )
        return who + "feature."
    if crash.anonymous or (crash.module or "").endswith(_ARTIFACTS):
        return who + (
            " In the code of a WebAssembly engine it is a wasm trap, which the engine turns into "
            "an error unless another library has taken its SIGILL handler."
        )
    return who


def _memory(crash: Crash, one: Decoded, *, ran: bool) -> tuple[Verdict, str]:
    executes = "The CPU accepted the instruction (a missing feature raises SIGILL)" if ran else ""
    lead = f"{executes}: the " if executes else "The "
    if one.alignment and one.operand is not None and one.operand % one.alignment:
        return "alignment", (
            f"{lead}operand at {one.operand:#x} is not aligned to {one.alignment} bytes, as "
            f"{one.mnemonic} demands. Not a missing feature: a bug in the program or its compiler."
        )
    if one.alignment and one.operand is None:
        return "alignment", (
            f"{lead}address is bad, or not aligned to {one.alignment} bytes as {one.mnemonic} "
            "demands; the registers would tell. Not a missing feature."
        )
    return "memory", f"{lead}address it used is bad. Not a missing feature."


# --- the features ---


def _features(needed: Sequence[str], assessment: Assessment) -> tuple[FeatureAnswer, ...]:
    return tuple(_feature(name, assessment.features[name], assessment) for name in needed)


def _feature(name: str, assessed: FeatureAssessment, assessment: Assessment) -> FeatureAnswer:
    cause, remedy = ("", "") if assessed.safe else _cause(name, assessed, assessment)
    return FeatureAnswer(
        name=name,
        state=assessed.state,
        safe=assessed.safe,
        cpuid=assessed.cpuid,
        os=assessed.os,
        kernel=assessed.kernel,
        ran=assessed.ran,
        cause=cause,
        remedy=remedy,
    )


def _cause(name: str, assessed: FeatureAssessment, assessment: Assessment) -> tuple[str, str]:
    finding = _finding(name, assessment.findings)
    if finding is not None and assessed.state != "absent":
        return finding.cause or finding.title, finding.remedy
    if assessed.state in ("usable", "unverified"):
        missing = [
            each
            for each in load_features().closure(name)
            if assessment.features[each].state not in ("usable", "unverified")
        ]
        if missing:
            return f"it builds on {names(sorted(missing))}, not safe here", ""
        return "nothing proves that it executes here", ""
    hypervisor = assessment.identity.hypervisor
    if assessed.state == "absent" and hypervisor is not None:
        return f"CPUID does not enumerate it (the hypervisor, {hypervisor}, may have masked it)", ""
    if assessed.state == "absent":
        return "CPUID does not enumerate it", ""
    return f"it is {assessed.state}", ""


def _finding(name: str, findings: Sequence[Finding]) -> Finding | None:
    about = [each for each in findings if name in each.features and each.code < "CP5"]
    return min(about, key=lambda each: (_GRAVITY[each.severity], each.code), default=None)


# --- what to do ---


def _flags(features: Sequence[FeatureAnswer], assessment: Assessment) -> dict[str, bool]:
    """The settings to switch off, with all that build on them: Cranelift's flags are no closure."""
    table = load_features()
    off: set[str] = set()
    for each in features:
        off |= {each.name, *table.dependents(each.name)}
    return {
        flag: False
        for flag in assessment.cranelift
        if flag in table.by_cranelift and table.by_cranelift[flag].name in off
    }


def _words(flags: Iterable[str]) -> str:
    return " ".join(f"-C cranelift-{flag}=false" for flag in flags)


def _advice(
    crash: Crash,
    lacking: Sequence[FeatureAnswer],
    flags: dict[str, bool],
    assessment: Assessment,
    runtimes: Mapping[str, Runtime],
) -> list[str]:
    advice: list[str] = []
    from_file = crash.module is not None and not crash.anonymous
    artifact = from_file and (crash.module or "").endswith(_ARTIFACTS)
    other_jit = crash.anonymous and runtimes and "wasmtime" not in runtimes
    of_wasmtime = "wasmtime" in runtimes and from_file
    if other_jit:
        advice.append(f"the code was made at run time, in this process by {names(runtimes)}:")
    elif from_file and not artifact and not of_wasmtime:
        level = assessment.level or "x86-64"
        advice.append(
            f"{crash.module} is compiled code in a file: no flag of wasmtime changes it. Use a "
            f"build for {level}, or the knob of that library if it has one"
            + (":" if runtimes else ".")
        )
    elif flags:
        advice.append(f"wasmtime, command line: {_words(flags)}")
        advice.append(f'wasmtime, API: config.cranelift_flag_set(FLAG, "false") for {names(flags)}')
        if artifact:
            advice.append(f"then compile {crash.module} anew: its flags are part of it")
    else:
        advice.append(
            f"wasmtime {assessment.wasmtime.version} has no flag for this, and emits no such code"
        )
    advice += dict.fromkeys(f"remove the cause: {each.remedy}" for each in lacking if each.remedy)
    return advice


def _runtimes(crash: Crash) -> dict[str, Runtime]:
    """The runtimes that the code can belong to, by id, or an empty dict if none is known.

    Code of a file belongs to the file's; code made at run time to those in the process that make
    such code.
    """
    modules = crash.modules if crash.anonymous else (crash.module,)
    found = [runtime_of_module(each) for each in modules if each is not None]
    return {
        each.id: each
        for each in found
        if each is not None and (not crash.anonymous or each.id in _MAKE_CODE)
    }


def _knobs(runtimes: Mapping[str, Runtime], features: Sequence[str]) -> list[str]:
    """The settings of runtimes; wasmtime's are `_advice`'s."""
    lines: dict[str, None] = {}
    for name, runtime in runtimes.items():
        if name != "wasmtime":
            lines.update(dict.fromkeys(setting_advice(runtime, features)))
    return list(lines)
