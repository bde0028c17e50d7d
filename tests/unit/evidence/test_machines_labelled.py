"""What people paste about a machine is read as labelled, bare and in every wrapper.

tests/data/machines/README.md says what the labels mean and where the texts are from.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.every import every

from cpuprobe.assessment import Assessment, FeatureAssessment, assess
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.observation import Observation

FOLDER = Path(__file__).parents[2] / "data" / "machines"
LABELS: list[dict[str, Any]] = json.loads((FOLDER / "labels.json").read_text())
LEVELS = ("x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4")
DENIED = {"absent", "withheld", "broken", "hidden", "uneven"}


def rank(level: str | None) -> int:
    return -1 if level is None else LEVELS.index(level)


def said(feature: FeatureAssessment) -> tuple[bool, bool]:
    """Whether the feature is claimed, and whether it is denied."""
    witnesses = {feature.cpuid, feature.kernel}
    denied = feature.state in DENIED or False in witnesses or feature.os is False
    return feature.safe or (True in witnesses and not denied), denied


def wrong_features(assessed: Assessment, label: dict[str, Any]) -> Iterable[str]:
    """What an assessment says of features against its label."""
    for name in label.get("yes", ()):
        if not said(assessed.features[name])[0]:
            yield f"{name} is not claimed"
    for name in label.get("no", ()):
        if not said(assessed.features[name])[1] or assessed.features[name].safe:
            yield f"{name} is not denied"
    for name in label.get("unknown", ()):
        feature = assessed.features[name]
        quiet = feature.state == "unverified" and not any(said(feature))
        if feature.safe or not (feature.state == "unknown" or quiet):
            yield f"{name} is not unknown but {feature.state}"
    for name in label.get("not_yes", ()):
        if said(assessed.features[name])[0]:
            yield f"{name} is claimed"
    for name in label.get("not_no", ()):
        if said(assessed.features[name])[1]:
            yield f"{name} is denied"


def wrong_levels(assessed: Assessment, label: dict[str, Any]) -> Iterable[str]:
    """What an assessment says of the level against its label."""
    level, least, most = assessed.level, assessed.level_at_least, assessed.level_at_most
    wanted = label.get("level")
    if wanted == "none" and level is not None:
        yield f"level {level} of a machine that has none"
    if wanted in LEVELS and level != wanted:
        yield f"level {level}, is {wanted}"
    if (low := label.get("level_at_least")) and rank(least) < rank(low):
        yield f"at least {least}, is {low}"
    if (high := label.get("level_at_most")) and max(map(rank, (level, least, most))) > rank(high):
        yield f"level {level}, {least} to {most}: at most {high}"


def wrong(observation: Observation, label: dict[str, Any]) -> list[str]:
    """All that a reading has wrong."""
    assessed = assess(observation)
    found = [*wrong_features(assessed, label), *wrong_levels(assessed, label)]
    codes = {finding.code for finding in assessed.findings}
    found += [f"no {code}" for code in label.get("findings", ()) if code not in codes]
    found += [f"{code} is wrong" for code in label.get("not_findings", ()) if code in codes]
    brand = assessed.identity.brand or ""
    if label.get("model") and " ".join(brand.split()) != " ".join(label["model"].split()):
        found.append(f"model {brand!r}")
    isa = {"x86_64": "x86-64"}.get(observation.isa, observation.isa)
    if isa != label["isa"] and not (isa == "x86-64" and label["isa"] == "i686"):
        found.append(f"isa {isa}")
    return found


def check(content: bytes, label: dict[str, Any]) -> None:
    """Holds what is read of `content` to its label."""
    refusable = not label["accept"] or label.get("may_refuse") or label["machines"] == 2
    try:
        observation = parse_capture(content)
    except CaptureError as error:
        assert refusable, str(error)
        words = label.get("message_has", ())
        assert not words or any(word.lower() in str(error).lower() for word in words), str(error)
        return

    assert label["machines"] == 1
    assert label["accept"]
    assert wrong(observation, label) == []


def by_name(label: dict[str, Any]) -> str:
    return str(label["file"]).removesuffix(".txt")


@every(LABELS, by_name)
def test_labelled(label):
    """The text as it was pasted."""
    check((FOLDER / label["file"]).read_bytes(), label)


def test_every_text_has_a_label_and_an_origin():
    """Labels and files are the same, and no text is without a kind."""
    assert {label["file"] for label in LABELS} == {path.name for path in FOLDER.glob("*.txt")}
    assert all(label["kind"] and label["note"] for label in LABELS)


# --- every text in every wrapper ------------------------------------------------------------------


def prefixed(prefix: str) -> Callable[[str], str]:
    return lambda text: "\n".join(f"{prefix}{line}" for line in text.rstrip("\n").split("\n"))


def numbered(text: str) -> str:
    lines = text.rstrip("\n").split("\n")
    return "\n".join(f"{number:6}\t{line}" for number, line in enumerate(lines, 1))


WRAPPERS: dict[str, Callable[[str], str]] = {
    "issue": lambda text: f"# Crash\n\nIt dies here:\n\n```\n{text}\n```\n\nWhy?\n",
    "quoted": prefixed("> "),
    "quoted twice": prefixed("> > "),
    "indented": prefixed("    "),
    "windows": lambda text: text.replace("\n", "\r\n"),
    "actions": prefixed("2024-03-21T10:11:12.1234567Z "),
    "run log": prefixed("build\tCPU\t2024-03-21T10:11:12.1234567Z "),
    "journal": prefixed("Nov 25 12:00:00 host script[12]: "),
    "compose": prefixed("web-1  | "),
    "cat -n": numbered,
    "page": lambda text: f"<html><body><p>See</p><pre>{html.escape(text)}</pre></body></html>",
    "entities": html.escape,
    "details": lambda text: f"<details><summary>x</summary>\n\n```\n{text}\n```\n</details>\n",
    "JSON string": lambda text: json.dumps({"number": 1, "body": text}),
    "coloured": lambda text: text.replace("avx", "\x1b[01;31m\x1b[Kavx\x1b[m\x1b[K"),
    "no-break": lambda text: text.replace("  ", "\u00a0 "),
}
ENCODINGS = ("utf-16", "utf-8-sig")


def is_json(text: str) -> bool:
    return text.lstrip()[:1] in "{["


@pytest.mark.parametrize("wrapper", WRAPPERS)
@every(LABELS, by_name)
def test_wrapped(wrapper, label):
    """What is put around and before its lines changes nothing."""
    text = (FOLDER / label["file"]).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    if is_json(text) and wrapper in ("coloured", "no-break", "entities"):
        text = text.replace("\u00a0", " ")  # JSON that is damaged so is no JSON any more
        wrapper = "issue"

    check(WRAPPERS[wrapper](text).encode(), label)


@pytest.mark.parametrize("encoding", ENCODINGS)
@every(LABELS, by_name)
def test_encoded(encoding, label):
    """In the encodings of Windows."""
    text = (FOLDER / label["file"]).read_bytes().decode("utf-8-sig")

    check(text.encode(encoding), label)
