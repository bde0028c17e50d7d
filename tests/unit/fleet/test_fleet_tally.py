"""Captures, DuckDB and Ibis count made-up fleets to the same answers."""

from __future__ import annotations

import re
import tempfile
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpuprobe.errors import CaptureError
from cpuprobe.facts.features import load_features
from cpuprobe.fleet import tally as counting
from cpuprobe.fleet.backends import connect
from cpuprobe.fleet.machine import CPU, STATES, UNDECIDED, Facts
from cpuprobe.fleet.queries import ask
from cpuprobe.fleet.tally import Answers, Count, Tally, millionths
from cpuprobe.fleet.writer import Writer

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

WIDTH = len(load_features())
LEVELS = (None, "x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4", UNDECIDED)
WORDS = st.sampled_from(["a", "b", "\u00fc'\"", "unknown", "others", "C" * 200])
BITS = st.booleans()
FINDINGS = st.tuples(
    st.sampled_from(["CP101", "CP203"]),
    st.sampled_from(["error", "info"]),
    st.sampled_from(["", "gds", "gu\u00e9"]),
    st.sampled_from(["x", "y", ""]),
)
MACHINES = st.builds(
    Facts,
    isa=st.just("x86-64"),
    states=st.binary(min_size=WIDTH, max_size=WIDTH).map(
        lambda drawn: bytes(each % len(STATES) for each in drawn)
    ),
    safe=st.integers(0, (1 << WIDTH) - 1) | st.just((1 << WIDTH) - 1),
    basis=st.sampled_from(["executed", "cpuid"]),
    verdict=st.sampled_from(["consistent", "mismatch"]),
    level=st.sampled_from(LEVELS),
    advertised_level=st.sampled_from(LEVELS),
    model=WORDS,
    kernel=WORDS,
    hypervisor=WORDS,
    flags=st.integers(0, (1 << 62) - 1),
    source=st.sampled_from(["probe", "lscpu"]),
    cpu=st.sampled_from(
        [CPU("GenuineIntel", "6", "58", False, True), CPU("x", "-", "-", True, False)]
    ),
    findings=st.lists(FINDINGS, max_size=3).map(tuple),
)
WEIGHTS = st.integers(1, 10**15).map(lambda number: Decimal(number).scaleb(-6))
FLEETS = st.lists(st.tuples(MACHINES, WEIGHTS), min_size=1, max_size=12)


def comparable(answers: Answers) -> Answers:
    """The same without the order of patterns, which says nothing."""
    return answers._replace(patterns=sorted(answers.patterns, key=str))


def counted(fleets, executed_only) -> tuple[Answers, dict[tuple[CPU, int], Count]]:
    tally = Tally()
    for facts, weight in (machine for fleet in fleets for machine in fleet):
        if facts.basis == "executed" or not executed_only:
            tally.add(facts, Count(1, millionths(weight)))
    return comparable(tally.answers(2)), tally.cpus


def asked(backend, folders, scratch, executed_only) -> tuple[Answers, dict[tuple[CPU, int], Count]]:
    tally = Tally()
    with connect(backend, scratch) as connection:
        ask(connection, folders, tally, executed_only=executed_only)
    return comparable(tally.answers(2)), tally.cpus


def written(fleet, parent):
    folder = tempfile.mkdtemp(dir=parent)
    writer = Writer(folder)
    for number, (facts, weight) in enumerate(fleet):
        writer.add(f"m{number}", weight, facts)
    writer.close()
    return folder


@pytest.mark.parametrize(("backend", "examples"), [("duckdb", 25), ("duckdb://", 6)])
def test_the_backends_agree_with_a_count_of_captures(backend, examples, tmp_path):
    """One folder of tables or two, all machines or those that something was executed on."""
    if "://" in backend:
        pytest.importorskip("ibis")

    @settings(max_examples=examples, deadline=None)
    @given(st.lists(FLEETS, min_size=1, max_size=2), st.booleans())
    def agree(fleets, executed_only):
        folders = [written(fleet, tmp_path) for fleet in fleets]
        try:
            expected = counted(fleets, executed_only)
        except CaptureError as error:
            with pytest.raises(CaptureError, match=re.escape(str(error))):
                asked(backend, folders, str(tmp_path), executed_only)
            return
        assert asked(backend, folders, str(tmp_path), executed_only) == expected

    agree()


def machine(**more) -> Facts:
    words = ("cpuid", "consistent", None, None, "m", "k", "none")
    cpu = CPU("GenuineIntel", "6", "58", bits32=False, guest=False)
    return Facts("x86-64", bytes(WIDTH), 1, *words, 0, "lscpu", cpu, ())._replace(**more)


def test_weights_are_added_up_exactly():
    """A million times 0.1 is 100,000 in whatever order."""
    tally = Tally()
    tally.add(machine(), Count(1, 10**15))
    for _ in range(10):
        tally.add(machine(), Count(1, 10**5))

    assert tally.answers(1).total == (11, 10**15 + 10**6)


def test_light_models_are_others(monkeypatch):
    """Where more differ than patterns tell apart, and their weight is not lost."""
    monkeypatch.setattr(counting, "MODELS", 2)
    tally = Tally()
    for number in range(5):
        tally.add(machine(model=f"m{number}"), Count(1, 5 - number))

    found = tally.answers(1)

    assert {each.model: each.machines for each in found.patterns} == {"m0": 1, "m1": 1, "others": 3}
    assert [(each.value, each.all.machines) for each in found.groups["model"]] == [
        ("m0", 1),
        ("others", 4),
    ]


def test_more_kinds_than_any_fleet_has_are_refused(monkeypatch):
    """What is kept for each is bounded, and so is memory."""
    monkeypatch.setattr(counting, "MAXIMUM_KINDS", 50)
    tally = Tally()

    with pytest.raises(CaptureError, match="more than 50 kinds of machines"):
        for number in range(51):
            tally.add(machine(kernel=str(number)), Count(1, 1))
