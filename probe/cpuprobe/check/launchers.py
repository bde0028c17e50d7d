"""Scripts that start one of several programs by what the CPU can do. Pure.

Programs that are variants by their names are chosen by people, unless something asks for them:
Debian's `mmseqs`, a script, looks into /proc/cpuinfo before it starts `mmseqs-avx2`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

_ASKS = re.compile(
    rb"/proc/cpuinfo|\blscpu\b|\bcpuid\b|ld-linux|hw\.optional|cpu_?(?:flags|features)"
)
_BY_LINKS = re.compile(r"basename\b[^\n]*\$\{?0")

MOST = 1000
"""Scripts of one file that are kept."""


class Launcher(NamedTuple):
    """A script that asks what the CPU can do.

    Attributes:
        path: its own.
        text: what it says, in lower case.
    """

    path: str
    text: str


def launcher(path: str, content: bytes) -> list[Launcher]:
    """A script, if it asks what the CPU can do.

    Args:
        path: its own.
        content: its beginning.
    """
    asks = _ASKS.search(content)
    return [Launcher(path, content.decode("latin-1").lower())] if asks else []


def starts(launchers: Iterable[Launcher], name: str, words: Collection[str]) -> bool:
    """Whether a script may start a variant: it has what the variants are called, and its word.

    Args:
        launchers: scripts that ask.
        name: what the variants' names have in common, in lower case. A script that is called so
            itself, or goes by the names of links to it, need not say it.
        words: in lower case, those by which the variant is one.
    """
    return any(
        (name in each.text or each.path.lower().endswith(name) or _BY_LINKS.search(each.text))
        and any(word in each.text for word in words)
        for each in launchers
    )
