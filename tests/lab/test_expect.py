"""Comparing what was seen with what was expected, without any emulator."""

from __future__ import annotations

import pytest

from tests.lab.expect import (
    MISSING,
    Below,
    Codes,
    Judged,
    Not,
    States,
    Text,
    Words,
    differences,
    look_up,
)

REPORT = {
    "verdict": "mismatch",
    "features": {"sse4.1": {"safe": True, "ran": None}},
    "findings": [{"code": "CP101", "cause": "gds", "cpus": [0, 1]}, {"code": "CP104", "cause": ""}],
    "flags": " fpu f16c abm",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("verdict", "mismatch"),
        ("features/sse4.1/safe", True),
        ("findings[code=CP104]/cause", ""),
        ("findings[code=CP101]/cpus", [0, 1]),
        ("findings[cpus=[0, 1]]/code", "CP101"),
        ("findings[cpus=[0]]/code", MISSING),
        ("findings[code=CP999]/cause", MISSING),
        ("verdict[code=CP101]", MISSING),
        ("nothing/at/all", MISSING),
    ],
)
def test_look_up(path: str, value: object) -> None:
    """A path with slashes and selections leads to the value, or to MISSING."""
    assert look_up(REPORT, path) == value


@pytest.mark.parametrize("path", ["", "a//b", "a[b", "a[b]", "[a=b]"])
def test_malformed_path_is_an_error(path: str) -> None:
    """A typing error in a path is never read as absence."""
    with pytest.raises(ValueError, match="not a path"):
        look_up(REPORT, path)


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("verdict", "mismatch", "consistent"),
        ("features/sse4.1/safe", True, 1),
        ("features/sse4.1/ran", None, MISSING),
        ("findings[code=CP201]", MISSING, None),
        ("flags", Words(["f16c"], ["avx"]), Words(["f16"])),
        ("flags", Words(lacks=["avx"]), Words(lacks=["abm"])),
        ("features", Words(["sse4.1"]), Words(["avx"])),
        ("verdict", Text("^mis"), Text("^match")),
        ("findings[code=CP201]", Not("x"), Text("")),
        ("verdict", Not(Text("consistent")), Not("mismatch")),
    ],
)
def test_each_expectation_can_fail(path: str, good: object, bad: object) -> None:
    """What is so gives no line; what is not so gives one that names the path."""
    assert differences({path: good}, REPORT) == []

    lines = differences({path: bad}, REPORT)

    assert len(lines) == 1
    assert lines[0].startswith(f"{path} is ")


def test_a_function_speaks_for_itself() -> None:
    """An expectation may be a function of everything seen."""
    assert differences(lambda seen: [f"verdict {seen['verdict']}"], REPORT) == ["verdict mismatch"]


@pytest.mark.parametrize(
    ("expected", "good"),
    [
        (Codes(["CP101", "CP104"]), True),
        (Codes(["CP104", "CP101"], may=["CP601"]), True),
        (Codes(["CP101"], may=["CP104"]), True),
        (Codes(["CP101"]), False),
        (Codes(["CP101", "CP104", "CP601"]), False),
        (Codes([]), False),
    ],
)
def test_codes(expected: Codes, good: bool) -> None:
    """All of the codes, and none but those and the tolerated."""
    assert bool(differences({"findings": expected}, REPORT)) is not good
    assert differences({"verdict": expected}, REPORT) != []


FEATURES = {
    "avx": {"state": "withheld", "safe": False},
    "sse3": {"state": "usable", "safe": True},
    "fma": {"state": "usable", "safe": False},
    "xop": {"state": "absent", "safe": False},
    "rdseed": {"state": "hidden", "safe": False},
}


@pytest.mark.parametrize(
    ("expected", "good"),
    [
        (States({"withheld": ["avx"], "hidden": ["rdseed"]}), True),
        (States({"withheld": ["avx"]}, usable=["sse3"], leaving=["rdseed"]), True),
        (States({"withheld": ["avx"]}, absent=["xop"], leaving=["rdseed"]), True),
        (States({"withheld": ["avx"]}), False),
        (States({"withheld": ["avx", "sse3"]}, leaving=["rdseed"]), False),
        (States({}, leaving=["rdseed"]), False),
        (States({"withheld": ["avx"]}, usable=["fma"], leaving=["rdseed"]), False),
        (States({"withheld": ["avx"]}, absent=["sse3"], leaving=["rdseed"]), False),
    ],
)
def test_states(expected: States, good: bool) -> None:
    """Just these features in a state, and what is usable is safe."""
    assert bool(differences({"features": expected}, {"features": FEATURES})) is not good


@pytest.mark.parametrize(
    ("states", "differing"),
    [
        ({"usable": ["sse3", "fma"], "withheld": ["avx"], "hidden": ["rdseed"]}, set()),
        ({"usable": ["sse3"], "withheld": ["avx"], "hidden": ["rdseed"]}, {"fma"}),
        ({"usable": ["sse3", "fma"], "withheld": ["avx"]}, {"rdseed"}),
        ({"usable": ["sse3", "fma", "avx"], "hidden": ["rdseed"]}, {"avx"}),
        ({"usable": ["sse3", "fma", "f"], "withheld": ["avx"], "hidden": ["rdseed"]}, {"f"}),
    ],
)
def test_judged(states: dict[str, list[str]], differing: set[str]) -> None:
    """All that is usable, withheld, hidden, broken or uneven is named, and in that state."""
    assert Judged(states).differing(FEATURES).keys() == differing
    assert bool(differences({"f": Judged(states)}, {"f": FEATURES})) is bool(differing)


def test_states_never_pass_what_is_safe_and_not_usable() -> None:
    """Whatever else is expected."""
    wrong = {**FEATURES, "rdseed": {"state": "hidden", "safe": True}}
    expected = States({"withheld": ["avx"]}, leaving=["rdseed"])

    (line,) = differences({"features": expected}, {"features": wrong})
    assert "'rdseed': 'hidden'" in line
    assert differences({"features": expected}, {"features": {}}) != []


def test_below() -> None:
    """A number, and no other thing that compares."""
    assert differences({"width": Below(101)}, {"width": 100}) == []
    assert len(differences({"width": Below(101)}, {"width": 101})) == 1
    assert len(differences({"width": Below(101)}, {"width": True})) == 1
