"""Why a feature of aarch64 is withheld, hidden or broken: from evidence only, the closest first.

The words that a kernel's command line can have stand in profiles/quirks.toml, `hidden_by`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cpuprobe.assessment.causes import cause, set_aside
from cpuprobe.assessment.ground import NO_CAUSE, Ground, Why
from cpuprobe.assessment.kernel import release_number
from cpuprobe.evidence.observation import Auxv
from cpuprobe.facts.aarch64 import load_features


def words_that_hide(ground: Ground, listed: Iterable[str]) -> list[str]:
    """The words of the command line that hide one of those features, or what one builds on."""
    wanted = {each for name in listed for each in (name, *ground.table.closure(name))}
    names = [
        row["word"] for row in ground.quirks["hidden_by"] if not wanted.isdisjoint(row["features"])
    ]
    return list(ground.option(*names))


def why_not_listed(ground: Ground, listed: list[str]) -> Why:
    """Why the kernel does not list what ID registers or HWCAP tell."""
    words = words_that_hide(ground, listed)
    if words:
        return _command_line(words)
    auxv, table = ground.observation.auxv, ground.table
    if auxv is not None and ground.kernel.set_aside is None:
        flags = {table[name].kernel.flag for name in listed}
        blocks = ground.observation.cpuinfo or ()
        if not any(flags & set(block.fields["Features"].split()) for block in blocks):
            return cause("auxv-edited"), []
    return cause("unknown"), []


def why_it_faults(ground: Ground, listed: list[str]) -> Why:
    """Why something claimed does not execute."""
    if any("sve" in ground.table.closure(name) for name in listed) and without_sve(ground):
        return cause("sve2-without-sve"), []
    return _emulator(ground) or (cause("claimed-in-vain"), [])


def why_it_is_wrong(ground: Ground, listed: list[str]) -> Why:
    """Why something executes with a wrong result."""
    if set(listed) == {"pauth"}:
        return cause("pauth-does-nothing"), []
    found = _emulator(ground)
    if found is not None:
        return cause("emulator-wrong", hypervisor="of programs"), found[1]
    if any(group.repeated and group.repeated.failed for group in ground.ordered):
        return cause("errs-now-and-then"), []
    return cause("unknown"), []


def why_masked(ground: Ground, listed: list[str]) -> Why:
    """Why something executes that ID registers and HWCAP deny."""
    words = words_that_hide(ground, listed)
    if words:
        return _command_line(words)
    release = ground.observation.kernel.release
    since = [release_number(ground.table[name].kernel.since) for name in listed]
    known = [each for each in since if each is not None]
    if release is not None and known and ground.kernel.release < min(known):
        return cause("kernel-tells-not", release=release), []
    return cause("withheld-from-programs"), []


def why_incoherent(ground: Ground, listed: list[str]) -> Why:
    """Why something is claimed without what it builds on."""
    if "sve2" in listed:
        return cause("sve2-without-sve"), []
    return NO_CAUSE, []


def why_taken_away(ground: Ground, listed: list[str]) -> Why:
    """Why a core lacks what its maker's manual says it has."""
    words = words_that_hide(ground, listed)
    if words:
        return _command_line(words)
    return _emulator(ground) or (cause("withheld-from-programs"), [])


def _command_line(words: list[str]) -> Why:
    said = " ".join(words)
    return cause("command-line", word=said), [f"kernel command line: {said}"]


def without_sve(ground: Ground) -> bool:
    """Whether ID registers or HWCAP tell of SVE2 and not of SVE."""
    auxv = ground.observation.auxv or Auxv()

    def told(name: str, registers: Mapping[str, int]) -> bool:
        feature = load_features()[name]
        word = getattr(auxv, feature.hwcap.word) if feature.hwcap else None
        bit = feature.hwcap is not None and word is not None and feature.hwcap.holds(word)
        return bit or feature.told_by(registers) is True

    return any(
        told("sve2", group.registers) and not told("sve", group.registers)
        for group in ground.ordered
    )


def _emulator(ground: Ground) -> Why | None:
    reason = ground.kernel.set_aside
    if reason in ("no-features", "another-cpu"):
        return cause("emulator-arm"), [set_aside(reason)]
    return None
