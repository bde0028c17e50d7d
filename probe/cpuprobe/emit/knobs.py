"""The ways in which a setting is written, each a pure function of the table and its arguments."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.facts.runtimes import Ceilings, Compiler, Fixed, Items, Masks, Runtime, Setting

# OPENSSL_ia32cap(3) of OpenSSL 3.5: each logical vector is two CPUID registers, the low one first.
_VECTORS = (
    ((0x1, 0, "edx"), (0x1, 0, "ecx")),
    ((0x7, 0, "ebx"), (0x7, 0, "ecx")),
    ((0x7, 0, "edx"), (0x7, 1, "eax")),
    ((0x7, 1, "edx"), (0x7, 1, "ebx")),
    ((0x7, 1, "ecx"), (0x24, 0, "ebx")),
)


def advice(runtime: Runtime, features: Iterable[str]) -> tuple[str, ...]:
    """What to do to keep a runtime off these features and off whatever builds on them.

    Returns lines without a line end: for each of its settings how it is written and what it
    switches (or that it cannot switch these features), then its limits, each beginning with two
    blanks. Raises KeyError for a feature that is not in features.toml.
    """
    table = load_features()
    named = tuple(dict.fromkeys(features))
    off = {*named, *(each for name in named for each in table.dependents(name))}
    lines: list[str] = []
    for one in runtime.settings:
        lacking = [name for name in named if not switchable(one, name)]
        text = setting(one, off)
        if type(one) is Fixed:
            lacking = []
        elif not text or len(lacking) == len(named):
            example = f"{runtime.title}: no switch for {', '.join(named)}"
            lines.append(f"{example}; what it has looks like {one.example}")
            continue
        lines.append(f"{text}  ({one.switches})")
        if lacking:
            lines.append(f"  no switch for {', '.join(lacking)}")
        lines.extend(f"  {limit}" for limit in one.limits)
    return tuple(lines)


def setting(one: Setting, off: Collection[str], on: Collection[str] | None = None) -> str:
    """The setting that takes features away, on one line without its end.

    Args:
        one: a row of the table.
        off: the features to take away; those it has no name for are left out, see `unnamed`.
        on: the features that may be used, where they are known; a ceiling then only names what is
            among them. Without it, no ceiling is named that older releases may not know.

    Returns the empty string if the setting has nothing to say about any of `off`.
    """
    ordered = [name for name in load_features() if name in off]
    if isinstance(one, Ceilings):
        return _ceiling(one, frozenset(off), on)
    if isinstance(one, Masks):
        return _vectors(one, ordered)
    if not isinstance(one, Items):
        return one.example
    template = one.item
    if isinstance(one, Compiler):
        template = one.deny
        ordered = [name for name in ordered if name not in one.skip]
    names = [name for feature in ordered for name in one.names_of(feature)]
    items = [template.replace("{name}", name) for name in _lowest(names)]
    return one.prefix + one.separator.join(items) if items else ""


def allow_list(one: Compiler, on: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """A compiler's flags for exactly the features in `on`: a psABI level and what goes beyond it.

    Left out are features that the compiler would not know or that bring along others outside `on`;
    denied at the end is what many names bring along, if it is not in `on`.

    Returns the flags on one line, and the features named that only newer releases know.
    """
    level, included = "x86-64", frozenset[str]()
    for each in load_levels():
        if included <= frozenset(each.features) and frozenset(each.features) <= frozenset(on):
            # GCC, Clang and rustc call the lowest level x86-64.
            level, included = each.name.removesuffix("-v1"), frozenset(each.features)
        else:
            break
    baseline = frozenset(load_levels()[0].features)
    beyond = [
        name
        for name, feature in load_features().items()
        if name in on
        and name not in included
        and name not in baseline
        and name not in one.skip
        and not feature.harmless
        and one.names_of(name)
        and all(need in on for need in one.needs.get(name, ()))
    ]
    items = [one.item.replace("{name}", one.names_of(name)[0]) for name in beyond]
    if items:
        denied = [
            name for implied in one.implied if implied not in on for name in one.names_of(implied)
        ]
        items += [one.deny.replace("{name}", name) for name in denied]
    text = one.level.replace("{level}", level)
    if items:
        text += f" {one.prefix}{one.separator.join(items)}"
    return text, tuple(name for name in beyond if name in one.since)


def unnamed(one: Setting, off: Collection[str]) -> tuple[str, ...]:
    """Those of the features that the setting does not reach.

    They have no switch, and neither has anything they build on, or the runtime is known to use them
    regardless. A ceiling reaches all: what stands in none of its steps, the runtime does not use.
    """
    if isinstance(one, Ceilings):
        return ()
    stays = one.stays if isinstance(one, Items) else ()
    told = {feature for feature in off if switchable(one, feature)}
    table = load_features()
    return tuple(
        name
        for name in off
        if name in stays or (name not in told and not table.closure(name) & told)
    )


def _lowest(names: Iterable[str]) -> list[str]:
    """The names without repetition; of one option with several numbers (`UseAVX=2`) the lowest."""
    kept: dict[str, str] = {}
    for name in names:
        option, equals, number = name.partition("=")
        if not equals or option not in kept:
            kept.setdefault(option, name)
        elif int(number) < int(kept[option].partition("=")[2]):
            kept[option] = name
    return list(kept.values())


def _ceiling(one: Ceilings, off: frozenset[str], on: Collection[str] | None) -> str:
    if not any(off & frozenset(ceiling.features) for ceiling in one.ceilings):
        return ""
    fitting = [
        ceiling.name
        for ceiling in one.ceilings
        if not off & frozenset(ceiling.features)
        and (not ceiling.recent if on is None else frozenset(ceiling.features) <= frozenset(on))
    ]
    return one.prefix + fitting[-1] if fitting else ""


def _vector_bit(feature: str) -> tuple[int, int] | None:
    """Which of OpenSSL's vectors holds a feature, and the bit in it; None if none does."""
    bit = load_features()[feature].cpuid
    for number, halves in enumerate(_VECTORS):
        for half, register in enumerate(halves):
            if register == (bit.leaf, bit.subleaf, bit.register):
                return number, bit.bit + 32 * half
    return None


def _vectors(one: Masks, off: Iterable[str]) -> str:
    masks = [0] * len(_VECTORS)
    for feature in off:
        place = _vector_bit(feature)
        if place is not None:
            masks[place[0]] |= 1 << place[1]
    if not any(masks):
        return ""
    # All of them: what is left out, some releases clear whole; ~0x0 clears nothing.
    return one.prefix + ":".join(f"~{mask:#x}" for mask in masks)


def switchable(one: Setting, feature: str) -> bool:
    """Whether the setting can take this feature away."""
    if isinstance(one, Masks):
        return _vector_bit(feature) is not None
    if isinstance(one, Ceilings):
        return any(feature in ceiling.features for ceiling in one.ceilings)
    return isinstance(one, Items) and bool(one.names_of(feature))
