"""What `cpuprobe profile` says, as lines. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import msgspec

from cpuprobe.facts.isa import facts_named
from cpuprobe.facts.profiles import KINDS
from cpuprobe.words import columns, counted, cut, plain, wrapped

if TYPE_CHECKING:
    from cpuprobe.check.profile_facts import Listing, Shown
    from cpuprobe.check.profile_fit import Verdict, Verdicts
    from cpuprobe.wasm.effect import Effect
    from cpuprobe.wasm.preset_lint import Lints, Presets

_Thing = TypeVar("_Thing")


def _hanging(head: str, text: str) -> list[str]:
    """Text behind a head, wrapped below itself."""
    if len(head) > 2 * columns() // 3:
        return [head.rstrip(), *wrapped(plain(text), "    ", "    ")]
    rest = " " * len(head) if len(head) < columns() // 2 else "    "
    return wrapped(plain(text), head, rest) or [head.rstrip()]


def _alike(things: Iterable[tuple[Hashable, _Thing]]) -> Iterable[list[_Thing]]:
    """Things in groups of those with the same key."""
    groups: dict[Hashable, list[_Thing]] = {}
    for key, thing in things:
        groups.setdefault(key, []).append(thing)
    return groups.values()


_HEADINGS = {
    "level": "aarch64: versions of the Arm architecture",
    "cpu": "aarch64: cores, boards, clouds",
    "distribution": "aarch64: what distributions are built for",
    "user": "aarch64: your own",
}


def listing_lines(found: Listing) -> Iterator[str]:
    """A heading for each kind, one line or more for each profile."""
    if not found.profiles:
        yield "No profiles of this kind."
        return
    widest = max(len(each.name) for each in found.profiles)
    yield cut(f"  {'name':{widest}}  year  level and number of features")
    for isa, kind in ((isa, kind) for isa in (msgspec.UNSET, "aarch64") for kind in KINDS):
        entries = [each for each in found.profiles if (each.isa, each.kind) == (isa, kind)]
        if entries:
            yield from ("", KINDS[kind] if isa is msgspec.UNSET else _HEADINGS[kind])
        for each in entries:
            level = "-" if each.level is None else _short(each.level)
            count = f"{each.features}" if each.forbids is None else f"-{each.forbids}"
            head = f"  {each.name:{widest}}  {each.year or '-':>4}  {level:2}  {count:>4}  "
            yield from _hanging(head, each.purpose + (f" ({each.file})" if each.file else ""))
    if any(each.forbids is not None for each in found.profiles):
        yield from ("", "A minus: it asks for nothing and only forbids so many.")


def _short(level: str) -> str:
    """A level without what all of its instruction set have: `v3`, `v8.2`."""
    return level.removeprefix("x86-64-").removeprefix("arm").removesuffix("-a")


def shown_lines(one: Shown) -> Iterator[str]:
    """One profile: a row a fact, none for what there is nothing to say of."""
    yield from (*_hanging("", f"{one.name}: {plain(one.purpose)}"), "")
    for label, value in _facts(one):
        if value:
            yield from _hanging(f"  {label:13} ", value)


def _facts(one: Shown) -> Iterator[tuple[str, str]]:
    yield "kind", KINDS[one.kind] + (f", {one.year}" if one.year else "")
    yield "source", f"{one.source} ({one.file})"
    yield "extends", ", ".join(one.extends)
    if one.forbids is not None:
        yield "asks for", "nothing: every machine meets it"
        yield "forbids", " ".join(one.forbids)
    else:
        yield "level", one.level or (f"below {one.below.level}" if one.below is not None else "")
        yield "beyond it", " ".join(one.beyond) or "nothing"
        if one.below is not None:
            yield f"not {one.below.level}", f"without {' '.join(one.below.missing)}"
        yield "features", f"{len(one.features)}"
    yield "-march", one.march or ""
    yield "preset", _preset(one)
    on = " ".join(flag for flag, value in one.cranelift.items() if value) or "none"
    yield "flags on", f"{on} (wasmtime {one.wasmtime})"
    yield (
        "flags off",
        " ".join(flag for flag, value in one.cranelift.items() if not value) or "none",
    )
    yield "extended by", ", ".join(one.extended_by)
    yield "met by", ", ".join(one.met_by)
    if one.archspec is not None:
        known = one.archspec
        generation = f", generation {known.generation}" if known.generation else ""
        yield "archspec", f"{known.name} by {known.vendor}{generation} ({known.library})"
        yield "builds on", ", ".join(known.ancestors)
        yield from known.options.items()


def _preset(one: Shown) -> str:
    if one.preset is None:
        return ""
    if one.preset_adds is None or one.preset_leaves_off is None:
        return f"{one.preset} (not asked: no wasmtime here that has it)"
    said = [
        f"{verb} {' '.join(flags)}"
        for verb, flags in (("leaves off", one.preset_leaves_off), ("adds", one.preset_adds))
        if flags
    ]
    return f"{one.preset}: {', '.join(said) or 'the same flags'}"


def _lowest(found: Verdicts) -> str:
    return "x86-64-v1" if found.isa is msgspec.UNSET else facts_named(found.isa).levels()[0].name


def verdict_lines(found: Verdicts) -> Iterator[str]:
    """Which profiles a machine meets, and of the others what it lacks, and why."""
    level = f"{found.level or 'not even ' + _lowest(found)} is safe"
    if found.insufficient:
        level = "too little is known to tell its level"
    basis = "executed" if found.basis == "executed" else "as claimed, nothing was executed"
    yield from _hanging("", f"{found.machine}: {level} ({basis})")
    for each in found.profiles:
        yield from ("", *_hanging("", f"{each.name}: {_verdict(each)}"))
        keyed = (((one.state, one.why, one.codes[:1], one.remedy), one) for one in each.missing)
        for group in _alike(keyed):
            first, names = group[0], " ".join(one.feature for one in group)
            yield from _hanging("  ", f"{names}: {first.state}")
            code = f" ({first.codes[0]})" if first.codes else ""
            yield from _hanging("    ", f"why: {first.why}{code}")
            if first.remedy:
                yield from _hanging("    ", f"what to do: {first.remedy}")


def _verdict(one: Verdict) -> str:
    lacking, features = len(one.missing), counted(one.features, "feature")
    if one.mask:
        return "meets: it only forbids and asks for nothing, so every machine meets it"
    if one.meets:
        return f"meets: all of its {features} {'is' if one.features == 1 else 'are'} safe"
    if not one.decided:
        safe = one.features - lacking
        return f"cannot be decided: {safe} of {features} are safe, none is known to be missing"
    return f"does not meet: {lacking} of {features} {'is' if lacking == 1 else 'are'} missing"


def lint_lines(found: Lints) -> Iterator[str]:
    """Problems, one line or more each."""
    for each in found.problems:
        yield from _hanging("", f"{each.severity}: {each.profile} {each.text}")
    of = [each.severity for each in found.problems]
    errors, warnings = counted(of.count("error"), "error"), counted(of.count("warning"), "warning")
    yield f"{counted(found.profiles, 'profile')}: {errors}, {warnings}"
    if found.presets is not None:
        yield ""
        yield from _presets(found.presets)


def _presets(presets: Presets) -> Iterator[str]:
    if presets.presets is None:
        yield from _hanging("", f"wasmtime's presets were not looked at: {presets.note}")
        return
    many = f"{len(presets.incoherent)} of its {presets.presets} presets"
    yield from _hanging("", f"wasmtime {presets.wasmtime}: {many} are not down-closed")
    keyed = (
        ((tuple(problem.text for problem in each.problems), each.effect), each)
        for each in presets.incoherent
    )
    for group in _alike(keyed):
        first = group[0]
        yield from _hanging("  ", ", ".join(each.name for each in group))
        for sentence in (*(each.text for each in first.problems), *_effect(first.effect)):
            yield from _hanging("    ", sentence)
    if presets.incoherent and not presets.count:
        yield from _hanging("  ", "(a fault of wasmtime, not of a profile: not in the exit code)")


def _effect(effect: Effect | None) -> Iterator[str]:
    if effect is None:
        return
    if effect.untried is not None:
        # wasmtime puts the reason behind the circumstances.
        yield f"not compiled: {effect.untried}"
        return
    if effect.idle:
        yield f"compiled: the same code with {', '.join(effect.idle)} off: no effect"
    if effect.used:
        off = f"{', '.join(effect.off)} {'is' if len(effect.off) == 1 else 'are'} off"
        yield f"compiled: the code uses {', '.join(effect.used)}, while {off}"
    if not effect.idle and not effect.used:
        yield "compiled: the code uses none of it, but differs with it off"
