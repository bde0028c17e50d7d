"""`check --format sarif` and `github`: held to OASIS's schema and to GitHub's escapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from cpuprobe.check.allow import AllowList, Row, Stale
from cpuprobe.check.builds import compare
from cpuprobe.check.gate import gate
from cpuprobe.check.judge import Expectation, Fit
from cpuprobe.cli import run
from cpuprobe.code.needs import Function, Needs, Place, Reach, Use
from cpuprobe.report import builds_text
from cpuprobe.report.fit import document, to_text
from cpuprobe.report.github import to_github
from cpuprobe.report.remarks import RULES
from cpuprobe.report.sarif import to_sarif

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "data" / "sarif" / "sarif-schema-2.1.0.json").read_text()
)
HOSTILE = "di st/%,:\n::error::\x1b[2J\udcff/ü.so"
STRANGE = "f\n::set-output name=x::y\x07%"


USE = Use(4, 2, {"symbol": 4}, (Place("f", 0x1000, 3, "symbol"),))


def fit(verdict: Expectation, path: str = "dist/a.so", name: str = "f") -> Fit:
    if verdict in ("unreadable", "unread"):
        return Fit(path=path, expectation=verdict, error="damaged\n: %")
    places = (Place(name, 0x1000, 3, "symbol"), Place("", 0x2000, 1, "unwind"))
    function = Function(name, 0x1000, 0x1000, 0x1000, "symbol", {"avx2": 3})
    needs = Needs(
        kind="library",
        features={"avx2": Use(4, 2, {"symbol": 3, "unwind": 1}, places)},
        functions=(function,),
    )
    return Fit(
        path=path,
        expectation=verdict,
        fits=verdict in ("runs", "guarded"),
        reason=f"contains avx2 in {name}",
        message="CPU ISA level" if verdict == "refused" else None,
        missing=("avx2",) if verdict != "runs" else (),
        needs=needs,
    )


def report(*fits: Fit, fail_on: str = "unguarded", stale: tuple[Stale, ...] = ()) -> dict[str, Any]:
    return document("x86-64-v2", fits, {"zip archive": 2}, gate(fail_on), stale, "allow.toml")


EVERY: tuple[Expectation, ...] = (
    "dies",
    "refused",
    "unguarded",
    "foreign",
    "unreadable",
    "unread",
    "guarded",
    "runs",
)


def results(log: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of a log, which is valid."""
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    found = log["runs"][0]["results"]
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert all(rules[each["ruleIndex"]]["id"] == each["ruleId"] for each in found)
    return list(found)


def test_the_schema_is_one_that_refuses():
    """What the tests below rest on."""
    log = to_sarif(report(fit("dies")))
    log["runs"][0]["results"][0]["level"] = "fatal"

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate(log)


def test_every_verdict_is_a_result():
    found = results(to_sarif(report(*map(fit, EVERY), stale=(Stale(3, "a.so", "g", "r"),))))

    assert [(each["ruleId"], each["level"]) for each in found] == [
        ("dies", "error"),
        ("refused", "error"),
        ("unguarded", "error"),
        ("foreign", "error"),
        ("unreadable", "error"),
        ("unread", "error"),
        ("guarded", "note"),
        ("stale", "warning"),
    ]
    assert {each["ruleId"] for each in found} | {"came"} == {*RULES}


def test_functions_are_logical_locations():
    (found,) = results(to_sarif(report(fit("unguarded", "/abs/a.so"))))
    (first,), (second,) = found["locations"], found["relatedLocations"]

    assert first["logicalLocations"] == [{"fullyQualifiedName": "f", "kind": "function"}]
    assert first["physicalLocation"]["address"]["absoluteAddress"] == 0x1000
    assert first["physicalLocation"]["artifactLocation"]["uri"] == "file:///abs/a.so"
    assert "logicalLocations" not in second
    assert second["physicalLocation"]["address"]["absoluteAddress"] == 0x2000


def test_what_is_allowed_is_suppressed():
    rules = AllowList([Row(file="a.so", features=("avx2",), reason="one: caller")], "list")
    allowed = rules.apply(fit("unguarded"))
    (found,) = results(to_sarif(report(allowed)))

    assert found["suppressions"] == [{"kind": "external", "justification": "one: caller"}]
    assert found["level"] == "note"
    assert to_github(report(allowed)).count("\n") == 1


def test_a_fingerprint_outlasts_a_build():
    """Not the address, nor the hashes in names; but another function is another remark."""
    names = ("_ZN1a17h0123456789abcdefE", "_ZN1a17hfedcba9876543210E", "_ZN1b17h0123456789abcdefE")
    paths = ("l-0123abcd.so", "l-fedc4321.so", "l-0123abcd.so")
    one, same, other = (
        results(to_sarif(report(fit("unguarded", *pair))))[0]["partialFingerprints"]
        for pair in zip(paths, names, strict=True)
    )

    assert one == same != other


def test_only_what_fails_is_told_when_quiet():
    every = report(*map(fit, EVERY), fail_on="dies,stale", stale=(Stale(1, "a", "", "r"),))

    assert [each["ruleId"] for each in results(to_sarif(every, quiet=True))] == [
        "dies",
        "refused",
        "foreign",
        "stale",
    ]
    assert to_github(every, quiet=True).count("::error ") == 4
    assert to_github(every, quiet=True).count("\n") == 4


def test_builds_are_results_too():
    old, new = fit("runs", "old/a.so"), fit("unguarded", "new/a.so")
    differences = compare([new], [Fit(path=old.path, expectation="runs")], ["new"], ["old"])
    compared = builds_text.document("x86-64-v2", differences, {})
    (found,) = results(to_sarif(compared))

    assert found["ruleId"] == "came"
    assert "came 1 function: avx2" in found["message"]["text"]
    assert to_github(compared).startswith("::error file=new/a.so,title=")


def test_names_from_strangers_stay_data():
    """A path and a symbol with line feeds, commands, escapes and bytes that are no UTF-8."""
    hostile = report(fit("unguarded", HOSTILE, STRANGE))
    (found,) = results(json.loads(json.dumps(to_sarif(hostile))))
    text = to_github(hostile)

    uri = found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.isascii()
    assert uri.isprintable()
    assert " " not in uri
    assert unquote(uri, errors="surrogateescape") == HOSTILE
    assert text.count("\n") == 2
    assert text.startswith("::error file=di st/%25%2C%3A %3A%3Aerror%3A%3A")
    assert "\x1b" not in text
    assert "\x07" not in text
    command, _, message = text.split("\n")[0].removeprefix("::").partition("::")
    assert "%" not in message.replace("%25", "")
    assert command.count(",") == 1


def test_what_could_not_be_read_makes_a_log_incomplete():
    logs = [
        to_sarif(report(*fits))
        for fits in (
            (fit("guarded"), fit("dies")),
            (fit("guarded"), fit("unreadable")),
            (Fit(path="a", expectation="unread", reason="7-Zip archive: not read"),),
        )
    ]

    complete = [log["runs"][0]["invocations"][0]["executionSuccessful"] for log in logs]
    assert complete == [True, False, False]


def test_the_sum_of_both_is_the_texts():
    """The worst first, and what is allowed as such."""
    found = report(fit("runs"), fit("dies"), fit("runs"))

    assert "3 files against x86-64-v2: 1 dies, 2 runs\n" in to_text(found)
    assert "3 files against x86-64-v2: 1 dies, 2 runs; not read: 2 zip archives\n" in to_github(
        found
    )


def test_of_many_features_the_reached_are_told_at_length():
    """Each of five with three of its functions, the others by the number of theirs."""
    features = {f"avx512{name}": USE for name in "abcdefgh"}
    reached = {"avx512h": Reach(0x1000, 0x1000, "export", "f")}
    needs = Needs(kind="library", features=features, reached=reached)
    fits = Fit(path="a.so", expectation="unguarded", missing=tuple(features), needs=needs)
    text = to_text(report(fits))

    assert [line.split(":")[0].strip() for line in text.splitlines() if "confidence" in line] == [
        f"avx512{name}" for name in "habcd"
    ]
    assert "and avx512e (2 functions), avx512f (2 functions) and avx512g (2 functions)" in text


def test_both_are_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """By the command; a folder without code is exit code 4 all the same."""
    for form in ("sarif", "github"):
        assert run(["check", "/bin/true", "--against", "x86-64-v4", "--format", form]) == 0
        text = capfd.readouterr().out
        if form == "sarif":
            assert results(json.loads(text)) == []
        assert "1 file against x86-64-v4: 1 runs" in text
        assert run(["check", str(tmp_path), "--against", "x86-64-v4", "--format", form]) == 4
        capfd.readouterr()
