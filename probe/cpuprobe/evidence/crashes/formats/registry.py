"""All formats of texts on a crash. A new one is a module with rules or a reader, and a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from cpuprobe.evidence.crashes.formats import (
    apple,
    coredumps,
    debuggers,
    emulators,
    firmware,
    kernel,
    listing,
    panics,
    refusals,
    registers,
    runtimes,
    sanitizers,
    sentry,
    shells,
    stackwalk_json,
    windows,
)
from cpuprobe.evidence.crashes.model import Clue
from cpuprobe.evidence.crashes.rules import Rule

RULES: Mapping[str, Sequence[Rule]] = {
    kernel.SOURCE: kernel.RULES,
    panics.SOURCE: panics.RULES,
    firmware.SOURCE: firmware.RULES,
    debuggers.SOURCE: debuggers.RULES,
    debuggers.WINDOWS_SOURCE: debuggers.WINDOWS,
    coredumps.SOURCE: coredumps.RULES,
    coredumps.STACKWALK: coredumps.STACKWALK_RULES,
    coredumps.TOMBSTONE: coredumps.TOMBSTONE_RULES,
    apple.SOURCE: apple.RULES,
    windows.SOURCE: windows.RULES,
    windows.GAMES: windows.GAME_RULES,
    **runtimes.RULES,
    **emulators.RULES,
    **shells.RULES,
}
# Formats of more than a line.
OF_LINES: Sequence[Callable[[Sequence[str]], Iterator[Clue]]] = (
    kernel.read,
    listing.read,
    registers.read,
    coredumps.read_tombstone,
    apple.read,
    windows.read,
    runtimes.read,
    sanitizers.read,
    refusals.read,
    shells.read,
)
# Formats that are documents: read from the whole text.
OF_TEXT: Sequence[Callable[[str], Iterator[Clue]]] = (
    apple.read_ips,
    sentry.read,
    stackwalk_json.read,
)
