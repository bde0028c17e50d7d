"""`make gen`: puts new words and candidates to the ends of the lists of profiles/share.toml.

What stands there stays as it is: codes that were printed long ago are read by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from cpuprobe.evidence.machines.kernel_list import linux_words
from cpuprobe.facts.isa import AARCH64
from cpuprobe.facts.tables import parse_toml
from tests.golden.aarch64 import entries as aarch64
from tests.golden.entries import FOLDER, read_list

FILE = Path(__file__).parents[2] / "profiles" / "share.toml"


def missing_words(words: Sequence[str]) -> list[str]:
    """Names that Linux prints, on x86 or on aarch64, and that have no bit."""
    return sorted((linux_words() | AARCH64.features().by_kernel_flag.keys()) - set(words))


def missing_candidates(rows: Sequence[str]) -> list[str]:
    """A row for each set of features that has none, named after its first candidate.

    Two instruction sets may call a feature alike: each has rows of its own.
    """
    told = [(name, frozenset(said.split())) for name, _, said in (r.rpartition(": ") for r in rows)]
    x86, arm = _listed(FOLDER, read_list), _listed(aarch64.FOLDER, aarch64.read_list)
    found: list[str] = []
    for listed, others in ((x86, arm), (arm, x86)):
        foreign = others.keys() - listed.keys()
        have = {features for name, features in told if name not in foreign}
        for name, features in listed.items():
            if frozenset(features) not in have:
                have.add(frozenset(features))
                found.append(f"{name}: {' '.join(features)}")
    return found


def _listed(folder: Path, read: Callable[[str], Iterable[Any]]) -> dict[str, tuple[str, ...]]:
    """The features of an instruction set's candidates, by their names."""
    text = (folder / "candidates.list").read_text(encoding="ascii")
    return {entry.name: tuple(entry.features) for entry in read(text)}


def _appended(text: str, name: str, values: Iterable[str]) -> str:
    rows = "".join(f'    "{value}",\n' for value in values)
    return re.sub(rf"(?ms)^({name} = \[.*?)^\]", lambda match: f"{match[1]}{rows}]", text, count=1)


def main() -> None:
    """Write the file anew."""
    text = FILE.read_text()
    table = parse_toml(text.encode(), FILE.name)
    text = _appended(text, "words", missing_words(table["words"]))
    FILE.write_text(_appended(text, "candidates", missing_candidates(table["candidates"])))


if __name__ == "__main__":
    main()
