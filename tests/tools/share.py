"""`make gen`: puts new words and candidates to the ends of the lists of profiles/share.toml.

What stands there stays as it is: codes that were printed long ago are read by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cpuprobe.evidence.machines.kernel_list import linux_words
from cpuprobe.facts.tables import parse_toml
from tests.golden.entries import FOLDER, read_list

FILE = Path(__file__).parents[2] / "profiles" / "share.toml"


def missing_words(words: Sequence[str]) -> list[str]:
    """Names that Linux prints and that have no bit."""
    return sorted(linux_words() - set(words))


def missing_candidates(rows: Sequence[str]) -> list[str]:
    """A row for each set of features that has none, named after its first candidate."""
    have = {frozenset(row.rpartition(": ")[2].split()) for row in rows}
    found: dict[frozenset[str], str] = {}
    for entry in read_list((FOLDER / "candidates.list").read_text(encoding="ascii")):
        key = frozenset(entry.features)
        if key not in have:
            found.setdefault(key, f"{entry.name}: {' '.join(entry.features)}")
    return list(found.values())


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
