"""What to do about a crash, by kind of program and by system. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cpuprobe.assessment.model import Assessment
from cpuprobe.crash.features import level_without, settings_off
from cpuprobe.crash.judge import ARTIFACTS, TYPED, Ruling
from cpuprobe.crash.model import Advice, FeatureJudged
from cpuprobe.emit.knobs import advice as setting_advice
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.evidence.crashes.status import ILLEGAL
from cpuprobe.facts.isa import X86_64, IsaFacts
from cpuprobe.facts.runtimes import Runtime, load_runtimes, runtime_of_module

# What makes code at run time and has no row there: known by name alone.
_NAMED = {
    "julia": "Julia",
    "jax": "XLA (JAX)",
    "llvmpipe": "llvmpipe (Mesa)",
    "luajit": "LuaJIT",
    "pcre2": "PCRE2's JIT",
    "numba": "Numba",
}


def advise(
    crash: Crash,
    ruling: Ruling,
    features: Sequence[FeatureJudged],
    assessment: Assessment | None,
    flags: Mapping[str, bool],
    machine: str,
    capture: str,
    facts: IsaFacts = X86_64,
) -> tuple[Advice, ...]:
    """What to do, the most useful first.

    Args:
        crash: as its record tells it.
        ruling: the verdict.
        features: what the instruction needs, on the machine in question.
        assessment: of the machine in question, None if it was not asked.
        flags: Cranelift's settings to switch off.
        machine: what that machine is called, empty for this one.
        capture: the path of the file that describes it, empty if there is none.
        facts: its instruction set's.
    """
    where = (machine, capture)
    return tuple(dict.fromkeys(_advice(crash, ruling, features, assessment, flags, where, facts)))


def _advice(
    crash: Crash,
    ruling: Ruling,
    features: Sequence[FeatureJudged],
    assessment: Assessment | None,
    flags: Mapping[str, bool],
    where: tuple[str, str],
    facts: IsaFacts,
) -> Iterator[Advice]:
    if ruling.verdict in ("kernel-crash", "kernel-warning"):
        yield Advice("kernel", (ruling.verdict, crash.function or "", crash.module or ""))
    elif ruling.verdict == "foreign-isa":
        yield Advice("foreign", (ruling.value,))
    elif ruling.verdict == "always-invalid" and ruling.reason not in ("permanently", "64-bit mode"):
        yield Advice("report the encoding")
    elif ruling.verdict == "no-code" and crash.signal in ILLEGAL and crash.emulator is None:
        yield Advice("get bytes", (_system(crash), crash.source))
    elif ruling.verdict == "no-code" and crash.emulator is not None:
        yield Advice("emulator", (crash.emulator,))
    elif assessment is not None:
        lacking = [each for each in features if each.lacking]
        if ruling.verdict in ("flag-mismatch", "level-missing", "missing-features-named"):
            yield from _refused(crash, ruling, features, assessment, facts)
        elif ruling.verdict == "lacks":
            yield from _lacking(crash, lacking, flags, assessment, where, facts)
        elif ruling.verdict == "has" and crash.emulator is not None:
            yield Advice("emulator", (crash.emulator,))
        elif ruling.verdict == "has" and crash.signal in ILLEGAL and _of_wasmtime(crash):
            there = settings_off(features, assessment, facts)
            if there:
                yield Advice("wasmtime elsewhere", tuple(there))
        if ruling.verdict in ("has", "lacks"):
            yield from _knobs(crash, [each.name for each in lacking or features])


def _system(crash: Crash) -> str:
    if crash.system is not None:
        return crash.system
    name = crash.signal or ""
    return (
        "windows" if name.startswith("STATUS_") else "macos" if name.startswith("EXC_") else "linux"
    )


def _refused(
    crash: Crash,
    ruling: Ruling,
    features: Sequence[FeatureJudged],
    assessment: Assessment,
    facts: IsaFacts,
) -> Iterator[Advice]:
    lacking = [each for each in features if each.lacking]
    level = assessment.level or "x86-64"
    if not lacking:  # said on another machine: only what it said counts
        level = _told_level(crash, level, facts)
    if ruling.verdict == "flag-mismatch":
        yield Advice("precompile")
    elif ruling.verdict == "level-missing":
        yield Advice("lower level", (level,))
    elif "wasmtime" not in crash.runtimes and level:
        yield Advice("other build of all", (level,))
    elif "wasmtime" not in crash.runtimes:
        yield Advice("build without", tuple(each.name for each in features))
    yield from _remedies(lacking, assessment)


def _told_level(crash: Crash, level: str, facts: IsaFacts) -> str:
    """The highest level that a refusal leaves, empty if none does; `level` if it names nothing."""
    refusal = crash.refusal
    if refusal is None or not refusal.names:
        return level
    if refusal.kind == "level":
        names = [each.name for each in facts.levels()]
        told = [names.index(each) for each in refusal.names if each in names]
        return names[max(min(told) - 1, 0)] if told else level
    lower = level_without(refusal.names)
    return "" if lower is None else lower.name


def _remedies(lacking: Sequence[FeatureJudged], assessment: Assessment) -> Iterator[Advice]:
    for each in lacking:
        if each.remedy:
            yield Advice("remedy", (each.remedy,))
    masked = next((each.value for each in lacking if each.cause == "masked"), None)
    if masked is not None:
        yield Advice("virtual machine", (masked,))


def _lacking(
    crash: Crash,
    lacking: Sequence[FeatureJudged],
    flags: Mapping[str, bool],
    assessment: Assessment,
    where: tuple[str, str],
    facts: IsaFacts,
) -> Iterator[Advice]:
    level = assessment.level or facts.name
    if crash.emulator is not None:
        yield Advice("emulator", (crash.emulator,))
    module = crash.module or ""
    makers = makers_of(crash)
    if _of_wasmtime(crash) or _perhaps_wasmtime(crash):
        sure = _of_wasmtime(crash)
        if flags:
            yield Advice("wasmtime flags" if sure else "wasmtime perhaps", tuple(flags))
            if module.endswith(ARTIFACTS):
                yield Advice("compile anew", (module,))
            yield Advice("all off", where)
        elif sure:
            yield Advice("wasmtime none", (assessment.wasmtime.version,))
    elif crash.module is not None and not crash.anonymous:
        yield Advice("other build", (module, level))
    elif makers:
        yield Advice("made by", makers)
    elif crash.anonymous:
        yield Advice("maker unknown")
    else:
        yield Advice("other build of all", (level,))
    yield from _remedies(lacking, assessment)


def _of_wasmtime(crash: Crash) -> bool:
    """Whether something says that wasmtime made the code: its name, its files in the process."""
    if (crash.module or "").endswith(ARTIFACTS):
        return True
    if crash.module is not None and not crash.anonymous:
        return False  # code of a file, even if wasmtime runs in the same process
    return "wasmtime" in crash.runtimes or "wasmtime" in runtimes_of(crash)


def _perhaps_wasmtime(crash: Crash) -> bool:
    """Whether nothing at all is known of the program: bare bytes, a core that lists no files."""
    if crash.runtimes or crash.module or crash.program or crash.emulator:
        return False
    return crash.source in TYPED or (crash.source == "core file" and not crash.modules)


def makers_of(crash: Crash) -> tuple[str, ...]:
    """Titles of what made the code at run time, where something tells."""
    if crash.module is not None and not crash.anonymous:
        return ()
    titles = {each.id: each.title for each in load_runtimes()}
    found = [titles[name] for name in runtimes_of(crash)]
    named = [_NAMED[name] for name in sorted(crash.runtimes) if name in _NAMED]
    return tuple(dict.fromkeys([*found, *named]))


def runtimes_of(crash: Crash) -> dict[str, Runtime]:
    """The runtimes of the table that the code can belong to, by id.

    Code of a file belongs to the file's; code made at run time to those in the process that make
    such code.
    """
    if crash.module is not None and not crash.anonymous:
        runtime = runtime_of_module(crash.module)
        return {} if runtime is None else {runtime.id: runtime}
    table = {each.id: each for each in load_runtimes() if each.makes_code}
    found = [runtime_of_module(each) for each in crash.modules] if crash.anonymous else []
    ids = [each.id for each in found if each is not None] + sorted(crash.runtimes)
    return {name: table[name] for name in ids if name in table}


def _knobs(crash: Crash, features: Sequence[str]) -> Iterator[Advice]:
    """The settings of runtimes; wasmtime's are Cranelift's flags."""
    for name, runtime in runtimes_of(crash).items():
        if name != "wasmtime":
            for line in setting_advice(runtime, features):
                yield Advice("knob", (line,))
