"""The labelled texts of tests/data/crashes: what `explain` has to find in each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.every import every
from tests.fakes import V2, group, observation

from cpuprobe.assessment import Assessment, assess
from cpuprobe.crash.diagnose import diagnose
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.status import ILLEGAL, MEMORY, TRAP
from cpuprobe.evidence.crashes.told import Told, of_text
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.report.explanation import Explanation, to_text, worded

FOLDER = Path(__file__).parents[2] / "data" / "crashes"
LABELS: list[dict[str, Any]] = json.loads((FOLDER / "labels.json").read_text(encoding="utf-8"))
# The labels' words for what a verdict answers; a verdict of the same name answers itself.
KINDS = {
    "lacks": "needs-feature",
    "has": "needs-feature",
    "unknown": "needs-feature",
    "data": "not-code",
    "no-code": "no-bytes",
}
WITHOUT_INSTRUCTION = ("no-bytes", "flag-mismatch", "level-missing", "missing-features-named")
PREFIXES = ("lock", "rep", "repz", "repnz", "data16", "addr32", "notrack", "bnd")
ISAS = {
    "aarch64": "AArch64",
    "arm": "32-bit Arm",
    "riscv64": "RISC-V",
    "s390x": "s390x",
    "mips": "MIPS",
    "ppc": "PowerPC",
    "ppc64": "POWER",
}
BASELINE = frozenset(load_levels()[0].features)


def here() -> Assessment:
    """An x86-64-v2 machine, which stands for this one."""
    return assess(observation(group(V2), listed=V2))


def answers(told: Told) -> list[Explanation]:
    """All answers, on the machine of the text or else the one here."""
    machine = told.machine
    name = "this machine" if machine is None else "the machine in the text"
    judge = here if machine is None else (lambda: assess(machine))
    return [worded(diagnose(crash, judge, name)) for crash in told.crashes]


def minimal(names: set[str]) -> set[str]:
    """Without what others of the set imply, and without x86-64-v1's."""
    table = load_features()
    known = {name for name in names if name in table}
    implied = {each for name in known for each in table.closure(name) if each != name}
    return names - implied - BASELINE


def mnemonic(text: str) -> str | None:
    words = [word for word in text.lower().split() if word not in PREFIXES]
    return words[0] if words else None


def differences(label: dict[str, Any], answer: Explanation) -> list[str]:
    """In what an answer is not what the label says."""
    kind, found = label["kind"], []
    if KINDS.get(answer.verdict, answer.verdict) not in (kind, *label.get("kind_also", ())):
        found.append(f"verdict {answer.verdict}")
    first = answer.instructions[0] if answer.instructions else None
    named = None if first is None else mnemonic(first.intel)
    foreign = kind == "foreign-isa" and named is None
    if label["instruction"] and named != label["instruction"] and not foreign:
        found.append(f"instruction {named}")
    if kind in WITHOUT_INSTRUCTION and first is not None:
        found.append("an instruction where none can be known")
    if label["features"] is not None and kind != "always-invalid":
        listing = label.get("format") in ("objdump", "x64dbg")
        shown = answer.instructions if listing else answer.instructions[:1]
        names = {name for each in shown for name in each.features}
        names |= {each.name for each in answer.features}
        if minimal(names) != minimal(set(label["features"])):
            found.append(f"features {sorted(names)}")
    alike = (ILLEGAL, MEMORY, TRAP)
    if label["signal"] and not kind.startswith("kernel-"):
        same = any(answer.signal in each and label["signal"] in each for each in alike)
        if not same and answer.signal != label["signal"]:
            found.append(f"signal {answer.signal}")
    if label.get("no_signal") and answer.signal is not None:
        found.append(f"signal {answer.signal}, which the text does not name")
    if label["module"] and (answer.module or "").lower() != label["module"].lower():
        found.append(f"module {answer.module}")
    if label["offset"] and answer.offset != int(label["offset"], 16):
        found.append(f"offset {answer.offset}")
    exact = kind not in ("always-invalid", "foreign-isa", "not-code", *WITHOUT_INSTRUCTION)
    if label["bytes"] and exact and first is not None and first.bytes:
        cut = label.get("bytes_cut") and first.bytes.startswith(label["bytes"])
        if first.bytes != label["bytes"] and not cut:
            found.append(f"bytes {first.bytes}")
    if label.get("jit") is not None and answer.jit != label["jit"]:
        found.append(f"jit {answer.jit}")
    return found


def test_there_are_forty_texts_beside_those_that_came_with_the_task():
    assert sum("thread" in label for label in LABELS) >= 40
    assert {path.name for path in FOLDER.glob("*.txt")} == {label["file"] for label in LABELS}


@every(LABELS, lambda label: label["file"])
def test_what_a_text_tells_is_found(label: dict[str, Any]):
    content = (FOLDER / label["file"]).read_bytes()
    if label["kind"] == "refused":
        with pytest.raises(CaptureError):
            of_text(content)
        return
    told = of_text(content)
    found = answers(told)
    said = " ".join(to_text("this machine", found).split())

    assert min((differences(label, answer) for answer in found), key=len) == []
    assert len(found) == label.get("crashes", len(found))
    assert (told.machine is not None) >= label["machine_in_text"]
    if label["kind"] == "foreign-isa":
        assert ISAS[label["isa"]] in said
    for words in label["must_not_say"]:
        assert words.lower() not in said.lower()
    assert re.search(r"[\x00-\x08\x0b-\x1f\x7f]", said) is None
