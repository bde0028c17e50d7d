"""What `cpuprobe profile` says, as JSON documents and as text of at most 100 columns: pure.

The types are the `--json` of the four commands; the text is made from them and holds no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from cpuprobe.assessment.levels import highest_level
from cpuprobe.assessment.model import Assessment, Finding, by_gravity
from cpuprobe.assessment.states import undecided
from cpuprobe.facts.archspec import Archspec
from cpuprobe.facts.features import FeatureTable, Level, load_features, load_levels
from cpuprobe.facts.lint import Problem
from cpuprobe.facts.profiles import KINDS, Profile, missing, needed
from cpuprobe.words import WIDTH, plain, wrapped

# --- list ---


class Entry(msgspec.Struct, frozen=True):
    """One profile of a list.

    Attributes:
        level: the highest psABI level all of whose features it holds.
        features: how many it holds.
        forbids: for a policy that only forbids, how many features; None for any other profile.
        file: the file of the user's own that it stands in.
    """

    name: str
    kind: str
    purpose: str
    year: int | None
    level: str | None
    features: int
    forbids: int | None
    file: str | None


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """`profile list`: in the order of `KINDS`, within a kind in that of the tables."""

    schema: str = "cpuprobe.profiles/1"
    profiles: tuple[Entry, ...]


def listing(profiles: Iterable[Profile], kind: str | None = None) -> Listing:
    """The list of profiles, of one kind or of all."""
    order = list(KINDS)
    chosen = [each for each in profiles if kind is None or each.kind == kind]
    chosen.sort(key=lambda each: order.index(each.kind))
    return Listing(
        profiles=tuple(
            Entry(
                name=each.name,
                kind=each.kind,
                purpose=each.purpose,
                year=each.year,
                level=level_of(each),
                features=len(each.features),
                forbids=len(each.withheld) if each.mask else None,
                file=None if each.built_in or each.kind == "preset" else each.origin,
            )
            for each in chosen
        )
    )


def level_of(profile: Profile) -> str | None:
    """The highest psABI level all of whose features a profile holds."""
    return highest_level(load_levels(), profile.features)


def listing_text(found: Listing) -> str:
    """A list for people: a heading for each kind, one line or more for each profile."""
    widest = max((len(each.name) for each in found.profiles), default=0)
    lines: list[str] = []
    for kind, heading in KINDS.items():
        entries = [each for each in found.profiles if each.kind == kind]
        if not entries:
            continue
        lines += ["", heading] if lines else [heading]
        for each in entries:
            level = "-" if each.level is None else each.level.removeprefix("x86-64-")
            count = f"{each.features}" if each.forbids is None else f"-{each.forbids}"
            head = f"  {each.name:{widest}}  {each.year or '-':>4}  {level:2}  {count:>4}  "
            where = "" if each.file is None else f" ({each.file})"
            lines += _hanging(head, each.purpose + where)
    if not lines:
        return "No profiles of this kind.\n"
    head = f"  {'name':{widest}}  year  level and number of features"
    notes = []
    if any(each.forbids is not None for each in found.profiles):
        notes = ["", "A minus: it asks for nothing and only forbids so many."]
    return _joined([head, "", *lines, *notes])


# --- show ---


class Below(msgspec.Struct, frozen=True):
    """What a profile lacks of the level above its own."""

    level: str
    missing: tuple[str, ...]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """`profile show`.

    Attributes:
        features: all that it holds, in the order of the feature table.
        beyond: those that its level has not.
        below: the next level, and what is missing for it.
        forbids: what a policy that only forbids takes away; None for any other profile.
        cranelift: the flags that it permits, for the wasmtime version named.
        cranelift_off: why each flag that is off is off.
        march: GCC's and LLVM's name for -march.
        preset: wasmtime's preset for the same CPUs.
        preset_adds: flags that the installed wasmtime's preset turns on beyond the profile; None
            where it has no such preset or is not installed.
        preset_leaves_off: flags of the profile that it does not turn on.
        extended_by: the profiles that say they build on it.
        met_by: other profiles that hold all of it: their machines meet it.
        archspec: what archspec knows of it.
    """

    schema: str = "cpuprobe.profile/1"
    name: str
    kind: str
    purpose: str
    source: str
    file: str
    year: int | None
    extends: tuple[str, ...]
    level: str | None
    features: tuple[str, ...]
    beyond: tuple[str, ...]
    below: Below | None
    forbids: tuple[str, ...] | None
    wasmtime: str
    cranelift: dict[str, bool]
    cranelift_off: dict[str, str]
    march: str | None
    preset: str | None
    preset_adds: tuple[str, ...] | None
    preset_leaves_off: tuple[str, ...] | None
    extended_by: tuple[str, ...]
    met_by: tuple[str, ...]
    archspec: Archspec | None


def shown(
    profile: Profile,
    profiles: Mapping[str, Profile],
    wasmtime: str,
    flags: Mapping[str, bool],
    off: Mapping[str, str],
    preset: Mapping[str, bool] | None,
    archspec: Archspec | None,
) -> Shown:
    """All that there is to say of one profile.

    Args:
        profile: the profile.
        profiles: all that there are.
        wasmtime: the version that the flags are for.
        flags: what `emit.choose_alone` gives for the profile.
        off: why a flag is off.
        preset: the flags of the installed wasmtime's preset of `profile.preset`.
        archspec: see `profiles.archspec_facts`.
    """
    table = load_features()
    level = level_of(profile)
    others = [each for each in profiles.values() if each.name != profile.name]
    known = table.by_cranelift
    permitted = {flag for flag in known if profile.permits(known[flag].name)}
    return Shown(
        name=profile.name,
        kind=profile.kind,
        purpose=profile.purpose,
        source=profile.source,
        file=profile.origin,
        year=profile.year,
        extends=profile.extends,
        level=level,
        features=_in_order(table, profile.features),
        beyond=_in_order(table, profile.features - _features_of(level)),
        below=None if profile.mask else _below(table, profile, level),
        forbids=_in_order(table, profile.withheld) if profile.mask else None,
        wasmtime=wasmtime,
        cranelift=dict(flags),
        cranelift_off=dict(off),
        march=profile.gcc,
        preset=profile.preset,
        preset_adds=None
        if preset is None
        else tuple(flag for flag, on in preset.items() if on and flag not in permitted),
        preset_leaves_off=None
        if preset is None
        else tuple(flag for flag, on in preset.items() if not on and flag in permitted),
        extended_by=tuple(each.name for each in others if profile.name in each.extends),
        met_by=()
        if profile.mask
        else tuple(
            each.name for each in others if not each.mask and each.features >= profile.features
        ),
        archspec=archspec,
    )


def _in_order(table: FeatureTable, features: Iterable[str]) -> tuple[str, ...]:
    wanted = set(features)
    return tuple(each for each in table if each in wanted)


def _level(name: str | None) -> Level | None:
    return next((each for each in load_levels() if each.name == name), None)


def _features_of(name: str | None) -> frozenset[str]:
    level = _level(name)
    return frozenset() if level is None else frozenset(level.features)


def _below(table: FeatureTable, profile: Profile, level: str | None) -> Below | None:
    names = [each.name for each in load_levels()]
    following = names[0 if level is None else names.index(level) + 1 :]
    if not following:
        return None
    lacking = _features_of(following[0]) - profile.features
    return Below(following[0], _in_order(table, lacking))


def shown_text(one: Shown) -> str:
    """One profile for people."""
    lines = [f"{one.name}: {plain(one.purpose)}", ""]
    lines += _row("kind", KINDS[one.kind] + (f", {one.year}" if one.year else ""))
    lines += _row("source", f"{plain(one.source)} ({plain(one.file)})")
    lines += _row("extends", ", ".join(one.extends))
    if one.forbids is not None:
        lines += _row("asks for", "nothing: every machine meets it")
        lines += _row("forbids", " ".join(one.forbids))
    else:
        lines += _row("level", one.level or "below x86-64-v1")
        lines += _row("beyond it", " ".join(one.beyond) or "nothing")
        if one.below is not None:
            lines += _row(f"not {one.below.level}", f"without {' '.join(one.below.missing)}")
        lines += _row("features", f"{len(one.features)}")
    lines += _row("-march", one.march or "")
    if one.preset is not None:
        lines += _row("preset", _preset(one))
    on = [flag for flag, value in one.cranelift.items() if value]
    lines += _row("flags on", f"{' '.join(on) or 'none'} (wasmtime {one.wasmtime})")
    off = [flag for flag, value in one.cranelift.items() if not value]
    lines += _row("flags off", " ".join(off) or "none")
    lines += _row("extended by", ", ".join(one.extended_by))
    lines += _row("met by", ", ".join(one.met_by))
    if one.archspec is not None:
        known = one.archspec
        generation = f", generation {known.generation}" if known.generation else ""
        lines += _row("archspec", f"{known.name} by {known.vendor}{generation} ({known.library})")
        lines += _row("builds on", ", ".join(known.ancestors))
        for compiler, options in known.options.items():
            lines += _row(compiler, options)
    return _joined(lines)


def _preset(one: Shown) -> str:
    if one.preset_adds is None or one.preset_leaves_off is None:
        return f"{one.preset} (not asked: no wasmtime here that has it)"
    said = [f"leaves off {' '.join(one.preset_leaves_off)}"] if one.preset_leaves_off else []
    if one.preset_adds:
        said.append(f"adds {' '.join(one.preset_adds)}")
    return f"{one.preset}: {', '.join(said) or 'the same flags'}"


# --- check ---


class Missing(msgspec.Struct, frozen=True):
    """A feature that a machine lacks of a profile.

    Attributes:
        state: the feature's state there.
        why: the witness's reason.
        codes: the findings that name it, the gravest first.
        remedy: what would change it; empty where nothing is known to.
    """

    feature: str
    state: str
    why: str
    codes: tuple[str, ...]
    remedy: str


class Verdict(msgspec.Struct, frozen=True):
    """Whether a machine meets one profile.

    Attributes:
        meets: all that it asks for is safe.
        decided: false where nothing that it asks for is known to be missing, and some of that is
            not known at all.
        mask: it only forbids: every machine meets it, and it says nothing of this one.
        features: how many it asks for: those that a program can need.
    """

    name: str
    meets: bool
    decided: bool
    mask: bool
    features: int
    missing: tuple[Missing, ...]


class Verdicts(msgspec.Struct, frozen=True, kw_only=True):
    """`profile check`.

    Attributes:
        machine: `this machine`, or the capture's name.
        basis: `executed`, or `cpuid` where nothing was executed.
        level: the psABI level of what is safe there.
        insufficient: too little is told to say that level.
    """

    schema: str = "cpuprobe.profile-check/1"
    machine: str
    basis: str
    level: str | None
    insufficient: bool
    profiles: tuple[Verdict, ...]


def verdicts(machine: str, assessment: Assessment, profiles: Sequence[Profile]) -> Verdicts:
    """Holds profiles against a machine: it meets one if all of its features are safe there."""
    safe = {name for name, feature in assessment.features.items() if feature.safe}
    open_questions = undecided(assessment, load_features())
    found = []
    for profile in profiles:
        lacking = missing(profile, safe)
        found.append(
            Verdict(
                name=profile.name,
                meets=not lacking,
                decided=not lacking or not open_questions.issuperset(lacking),
                mask=profile.mask,
                features=len(needed(profile)),
                missing=tuple(_missing(name, assessment, safe) for name in lacking),
            )
        )
    return Verdicts(
        machine=machine,
        basis=assessment.basis,
        level=assessment.level,
        insufficient=assessment.level_at_least != assessment.level_at_most,
        profiles=tuple(found),
    )


def _missing(name: str, assessment: Assessment, safe: set[str]) -> Missing:
    feature = assessment.features.get(name)
    findings = by_gravity([each for each in assessment.findings if name in each.features])
    # An explanation of a state comes from the finding of that state, not from a warning beside it.
    telling = [each for each in findings if not each.code.startswith(("CP4", "CP5"))]
    codes = tuple(each.code for each in telling)
    if feature is None:
        return Missing(name, "unverified", "the capture does not know this feature", codes, "")
    if telling:
        return Missing(name, feature.state, _because(telling[0]), codes, _remedy(telling[0].remedy))
    return Missing(name, feature.state, _silent(name, assessment, safe), (), "")


def _because(finding: Finding) -> str:
    known = finding.cause and finding.cause_id != "unknown"
    return finding.cause if known else finding.title


def _remedy(text: str) -> str:
    """A remedy without the sentences that point at a report's other parts."""
    sentences = re.split(r"(?<=\.) ", text)
    return " ".join(each for each in sentences if "below" not in each)


def _silent(name: str, assessment: Assessment, safe: set[str]) -> str:
    """Why a feature that no finding explains is missing: the first witness that says no."""
    feature = assessment.features[name]
    if feature.cpuid is False:
        guest = assessment.identity.hypervisor is not None
        hidden = "; this is a guest, and its hypervisor may hide it" if guest else ""
        return f"CPUID does not enumerate it{hidden}"
    if feature.os is False:
        return "the operating system has not enabled it"
    if feature.kernel is False:
        return "the kernel does not list it"
    table = load_features()
    below = [each for each in table if each in table.closure(name) and each not in safe]
    if feature.cpuid or feature.kernel or feature.ran == "ok":
        return f"it builds on {', '.join(below)}, not safe here" if below else "not confirmed"
    return "nothing in this capture tells"


def verdicts_text(found: Verdicts) -> str:
    """The verdicts for people."""
    lines: list[str] = []
    level = found.level or "not even x86-64-v1"
    if found.insufficient:
        level = "what is told"
    basis = "executed" if found.basis == "executed" else "by CPUID, nothing was executed"
    lines.append(f"{plain(found.machine)}: {level} is safe ({basis})")
    for each in found.profiles:
        lines.append("")
        if each.mask:
            text = "meets: it only forbids and asks for nothing, so every machine meets it"
        elif each.meets:
            text = f"meets: all of its {each.features} features are safe"
        elif not each.decided:
            told = each.features - len(each.missing)
            features = _many(each.features, "feature")
            text = f"cannot be decided: {told} of {features} are told, none is known to be missing"
        else:
            lacking = len(each.missing)
            verb = "is" if lacking == 1 else "are"
            text = f"does not meet: {lacking} of {_many(each.features, 'feature')} {verb} missing"
        lines.append(f"{each.name}: {text}")
        for group in _alike(each.missing):
            names = " ".join(one.feature for one in group)
            lines += _hanging("  ", f"{names}: {group[0].state}")
            code = f" ({group[0].codes[0]})" if group[0].codes else ""
            lines += _hanging("    ", f"why: {group[0].why}{code}")
            if group[0].remedy:
                lines += _hanging("    ", f"to change it: {group[0].remedy}")
    return _joined(lines)


def _alike(found: Iterable[Missing]) -> Iterator[list[Missing]]:
    """The missing features in groups of those that say the same."""
    groups: dict[tuple[object, ...], list[Missing]] = {}
    for each in found:
        key = (each.state, each.why, each.codes[:1], each.remedy)
        groups.setdefault(key, []).append(each)
    yield from groups.values()


# --- lint ---


class FoundEffect(msgspec.Struct, frozen=True):
    """What compiling with an incoherent preset showed; see `wasm.presets.Effect`.

    Attributes:
        idle: flags without any effect: with them off the code is the same.
        used: features that the code uses though what they imply is off.
        off: what these imply and the preset leaves off.
        untried: why nothing was compiled.
    """

    idle: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    untried: str | None = None


class Incoherent(msgspec.Struct, frozen=True):
    """A preset of wasmtime that is not down-closed."""

    name: str
    problems: tuple[Problem, ...]
    effect: FoundEffect | None = None


class Presets(msgspec.Struct, frozen=True):
    """The presets of the installed wasmtime.

    Attributes:
        wasmtime: its version.
        presets: how many it has; None where it could not be asked.
        incoherent: those with problems.
        count: whether they decide the exit code.
        note: why it could not be asked.
    """

    wasmtime: str | None
    presets: int | None
    incoherent: tuple[Incoherent, ...]
    count: bool
    note: str | None = None


class Lints(msgspec.Struct, frozen=True, kw_only=True):
    """`profile lint`.

    Attributes:
        profiles: how many were looked at, presets apart.
        problems: what is wrong with them.
        presets: None where they were not asked about.
        ok: nothing of severity `error` that counts; the exit code is 0.
    """

    schema: str = "cpuprobe.profile-lint/1"
    profiles: int
    problems: tuple[Problem, ...]
    presets: Presets | None
    ok: bool


def lints(profiles: int, problems: Sequence[Problem], presets: Presets | None) -> Lints:
    """The outcome of `profile lint`."""
    wrong = any(each.severity == "error" for each in problems)
    if presets is not None and presets.count:
        wrong = wrong or bool(presets.incoherent)
    return Lints(profiles=profiles, problems=tuple(problems), presets=presets, ok=not wrong)


def lints_text(found: Lints) -> str:
    """Problems for people, one line or more each."""
    lines = []
    for each in found.problems:
        lines += _hanging("", f"{each.severity}: {each.profile} {each.text}")
    errors = _count(found.problems, "error")
    warnings = _count(found.problems, "warning")
    lines.append(
        f"{_many(found.profiles, 'profile')}: {_many(errors, 'error')}, "
        f"{_many(warnings, 'warning')}"
    )
    if found.presets is not None:
        lines += ["", *_presets_lines(found.presets)]
    return _joined(lines)


def _count(problems: Iterable[Problem], severity: Literal["error", "warning"]) -> int:
    return sum(each.severity == severity for each in problems)


def _presets_lines(presets: Presets) -> list[str]:
    if presets.presets is None:
        return _hanging("", f"wasmtime's presets were not looked at: {presets.note}")
    lines = [
        f"wasmtime {presets.wasmtime}: {len(presets.incoherent)} of its {presets.presets} "
        "presets are not down-closed"
    ]
    groups: dict[tuple[object, ...], list[Incoherent]] = {}
    for each in presets.incoherent:
        key = (tuple(problem.text for problem in each.problems), each.effect)
        groups.setdefault(key, []).append(each)
    for group in groups.values():
        lines += _hanging("  ", ", ".join(each.name for each in group))
        for problem in group[0].problems:
            lines += _hanging("    ", problem.text)
        if group[0].effect is not None:
            for sentence in _effect_lines(group[0].effect):
                lines += _hanging("    ", sentence)
    if presets.incoherent and not presets.count:
        lines += _hanging("  ", "(a fault of wasmtime, not of a profile: not in the exit code)")
    return lines


def _effect_lines(effect: FoundEffect) -> Iterator[str]:
    if effect.untried is not None:
        # wasmtime puts the reason behind the circumstances.
        yield f"not compiled: {effect.untried.rpartition('Caused by: ')[2]}"
        return
    if effect.idle:
        yield f"compiled: the same code with {', '.join(effect.idle)} off: no effect"
    if effect.used:
        verb = "is" if len(effect.off) == 1 else "are"
        yield (
            f"compiled: the code uses {', '.join(effect.used)}, "
            f"while {', '.join(effect.off)} {verb} off"
        )
    if not effect.idle and not effect.used:
        yield "compiled: the code uses none of it, but differs with it off"


# --- lines ---


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _hanging(head: str, text: str) -> list[str]:
    """Text behind a head, wrapped below itself."""
    rest = " " * len(head) if len(head) < WIDTH // 2 else "    "
    return wrapped(plain(text), head, rest) or [head.rstrip()]


def _row(label: str, value: str) -> list[str]:
    """A labelled line; nothing for an empty value."""
    return _hanging(f"  {label:13} ", value) if value else []


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line.rstrip()}\n" for line in lines)
