"""Known cases: the table's own rules, and that a crash of another cause is like none of them."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.every import every
from tests.fakes import V2, V3, V4, XCR0_AVX512, gds_machine, group, observation
from tests.unit.crash.test_corpus import LABELS, answers

from cpuprobe.assessment import assess
from cpuprobe.crash.diagnose import diagnose
from cpuprobe.crash.model import Verdict
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.evidence.crashes.told import of_text
from cpuprobe.evidence.observation import Observation
from cpuprobe.evidence.witnesses import ExternalWitnesses
from cpuprobe.facts.cases import Case, cause_of, like_finding, load_cases
from cpuprobe.facts.features import load_features
from cpuprobe.facts.tables import load_table
from cpuprobe.report.document import make_report, to_json
from cpuprobe.report.html import render_html
from cpuprobe.report.layout import text_of
from cpuprobe.report.markdown import render_markdown
from cpuprobe.report.subject import make_subject
from cpuprobe.report.text import lines

FOLDER = Path(__file__).parents[2] / "data" / "crashes"
TELLING = ("modules", "programs", "functions", "runtimes", "emulators", "mnemonics")
VMOVQ = bytes.fromhex("c4e1f96ec3")


@every(load_cases(), lambda case: case.thread)
def test_a_row_has_more_signs_than_the_signal(case: Case):
    assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", case.thread)
    assert any(getattr(case, sign) for sign in TELLING) or (
        case.features and (case.causes or "level-missing" in case.verdicts)
    )
    assert all(name in load_features() for name in case.features)
    assert set(case.verdicts) <= set(get_args(Verdict))
    assert case.what and case.cured


def test_a_case_without_a_cure_says_so():
    sentences = [case.known.sentence for case in load_cases()]

    assert not [each for each in sentences if "cured by: no" in each and "by: numpy" not in each]
    assert any("; no cure is told there" in each for each in sentences)


def test_no_case_stands_twice():
    threads = [case.thread for case in load_cases()]

    assert len(set(threads)) == len(threads) >= 35


@every([each for each in LABELS if each["kind"] != "refused"], lambda label: label["file"])
def test_nothing_matches_a_crash_of_another_cause(label: dict[str, Any]):
    """Of each case that is named, every sign is there; bare signals and traps name none."""
    table = {case.thread: case for case in load_cases()}
    for answer in answers(of_text((FOLDER / label["file"]).read_bytes())):
        assert len(answer.cases) <= 3
        if answer.verdict in ("sent", "memory", "data", "kernel-warning", "breakpoint"):
            assert answer.cases == ()
        said = json.dumps([answer.module, answer.program, answer.function]).lower()
        if answer.verdict == "no-code" and not (answer.module or answer.program):
            rows = [table[one.thread] for one in answer.cases]
            assert all(row.emulators or row.runtimes for row in rows)
        for named in answer.cases:
            case = table[named.thread]
            names = {one.name for one in answer.features}
            names |= {name for one in answer.instructions for name in one.features}
            assert not case.features or names & set(case.features)
            assert not case.verdicts or answer.verdict in case.verdicts
            for patterns in (case.modules, case.programs, case.functions):
                assert not patterns or any(
                    fnmatchcase(word, pattern.lower())
                    for word in json.loads(said)
                    if word
                    for pattern in patterns
                )


def test_the_gds_case_is_named_where_gds_is_the_cause():
    """A Skylake whose AVX the kernel has switched off; not one without AVX."""
    crash = Crash("core file", code=VMOVQ, signal="SIGILL", module="app", anonymous=False)
    gds = diagnose(crash, lambda: assess(gds_machine(wasmtime="50.0.1")))
    old = diagnose(crash, lambda: assess(observation(group(V2), listed=V2)))

    assert [case.thread for case in gds.cases] == ["element-hq/element-desktop#1385"]
    assert old.cases == ()


def test_the_closest_case_comes_first():
    """A file's name says more than the cause of a missing feature."""
    crash = Crash(
        "core file", code=VMOVQ, signal="SIGILL", module="rspamd", program="rspamd", anonymous=False
    )
    answer = diagnose(crash, lambda: assess(gds_machine(wasmtime="50.0.1")))

    assert [case.thread for case in answer.cases] == [
        "rspamd/rspamd#5137",
        "element-hq/element-desktop#1385",
    ]


# --- findings ---

FINDINGS = [row["code"] for row in load_table("findings")["finding"]]
CAUSES = [None, *(row["id"] for row in load_table("findings")["cause"])]


@every(load_features())
def test_a_finding_of_another_cause_or_feature_is_like_no_case(name: str):
    """Whatever the code and its cause: what is named has that feature and that cause."""
    table = {case.thread: case for case in load_cases()}
    for code in FINDINGS:
        for cause_id in CAUSES:
            found = like_finding(code, cause_id, (name,))
            assert len(found) <= 3
            for each in found:
                assert name in table[each.thread].features
                assert cause_of(code, cause_id) in table[each.thread].causes
    assert like_finding("CP201", "unknown", (name,)) == ()
    assert like_finding("CP601", "gds-vulnerable", (name,)) == ()


def test_every_cause_of_a_row_is_one_that_something_has():
    of_findings = {cause_of(code, cause_id) for code in FINDINGS for cause_id in CAUSES}

    assert {each for case in load_cases() for each in case.causes} <= {
        *of_findings,
        "not enumerated",  # of crashes alone: what is absent is no finding
    }


@pytest.mark.parametrize(
    ("machine", "code", "first"),
    [
        (gds_machine(), "CP101", "element-hq/element-desktop#1385"),
        (
            observation(group(V4, xcr0=7, hypervisor="KVMKVMKVM"), listed=V3),
            "CP101",
            "halide/Halide#9017",
        ),
        (observation(group(V2), listed=V2), "CP502", "bytecodealliance/wasmtime#10052"),
        (gds_machine(), "CP504", "rust-lang/stdarch#1249"),
        (
            observation(group({*V2, "rdrnd"}, outcomes={"rdrnd": "wrong"}), listed=V2),
            "CP202",
            "systemd/systemd#11810",
        ),
    ],
)
def test_a_finding_names_what_it_is_like(machine: Observation, code: str, first: str):
    found = next(each for each in assess(machine).findings if each.code == code)

    assert first in [case.thread for case in found.cases]
    assert code != "CP101" or found.cases[0].thread == first


def test_a_machine_without_disagreement_is_like_no_case():
    healthy = assess(observation(group(V4, xcr0=XCR0_AVX512), listed=V4))

    assert [each for each in healthy.findings if each.cases] == []


def test_the_cases_of_a_finding_stand_on_every_page():
    """Text, Markdown, HTML and JSON name the thread and what cured it."""
    machine = gds_machine()
    found = assess(machine)
    subject = make_subject("this machine", machine, found, ExternalWitnesses())
    text = "".join(text_of(line) for line in lines(found, 1000))
    pages = (
        text,
        render_markdown([subject]),
        render_html([subject]),
        to_json(make_report(machine, found)).decode(),
    )
    for page in pages:
        plain = re.sub(r"<!-- -->|\\", "", page)
        assert "element-hq/element-desktop#1385" in plain
        assert "cpufeatures 0.2.x tests XGETBV" in plain
