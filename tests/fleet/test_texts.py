"""A fleet of lscpu texts: levels are those of a count over the flags, equal evidence is one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cpuprobe.evidence.machines import parse_capture
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.fleet import reading
from cpuprobe.fleet.machine import facts_of, read_machine
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.piece import Piece
from tests.fleet.common import covered, cpuprobe
from tests.tools.lscpu_texts import texts


def level_of(text: str) -> str | None:
    """The psABI level by the words of the list alone."""
    words = set(text.partition("Flags:")[2].split())
    if "i686" in text.splitlines()[0]:
        return None
    table, reached = load_features(), None
    for level in load_levels():
        if not {table[name].kernel.flag for name in level.features} - {None} <= words:
            break
        reached = level.name
    return reached


def test_levels_agree_with_a_count_over_the_flags(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    """Two thousand texts, among them what is cut: that is in no share."""
    made = [text for _, text in texts(2000, seed=3)]
    cut = [text[: text.index("Flags:") + 60] for text in made[:50]]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"capture": text}) + "\n" for text in [*made, *cut]))

    found = cpuprobe(capfdbinary, "fleet", path, "--json").json

    levels = Counter(level_of(text) for text in made)
    names = [level.name for level in load_levels()]
    assert found["total"]["machines"] == 2000
    assert sum(each["machines"] for each in found["unknown"]) == 50
    assert covered(found["levels"]) == {
        name: sum(levels[higher] for higher in names[at:]) for at, name in enumerate(names)
    }


def test_equal_evidence_is_assessed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the brand, the CPU list or the clock rate."""
    assessed = 0

    def count(*arguments: Any) -> Any:
        nonlocal assessed
        assessed += 1
        return facts_of(*arguments)

    monkeypatch.setattr(reading, "facts_of", count)
    machine = next(text for kind, text in texts(50, seed=1) if not kind.guest)
    pieces = [
        Piece(
            f"m{number}",
            machine.replace("MHz:", f"MHz:{number}").replace("@", f"{number} @").encode(),
        )
        for number in range(300)
    ]

    rows = list(reading.read(pieces, "50"))

    assert assessed == 1
    models = {row[1].model for row in rows if not isinstance(row, Skipped)}
    assert len(models) == 300


@pytest.mark.parametrize("seed", range(3))
def test_what_is_left_out_of_the_evidence_decides_nothing(seed: int) -> None:
    """The facts of the evidence are those of the whole observation, but for the model."""
    for _, text in texts(60, seed):
        row = read_machine(Piece("x", text.encode()))
        assert not isinstance(row, Skipped)
        machine, packed = row
        (facts,) = reading._assess([packed], "50")

        whole = facts_of(parse_capture(text.encode()), "50")

        assert facts._replace(model=machine.model or facts.model) == whole
