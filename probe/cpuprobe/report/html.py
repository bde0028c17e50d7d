"""The report as one self-contained HTML page. Pure.

It needs no network and no script: a Content-Security-Policy forbids both. The feature matrix is a
set of real tables, a column a capture or a kind of CPU; a state is told by shape, by colour and in
words. How it looks stands in templates/, which escape every value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from cpuprobe.assessment.difference import Side, compare
from cpuprobe.assessment.model import Assessment, FeatureAssessment, by_gravity
from cpuprobe.facts.isa import facts_named
from cpuprobe.report.pages import render
from cpuprobe.report.spoken import spoken
from cpuprobe.report.subject import (
    ReportedMachine,
    facts,
    installed,
    key_facts,
    until,
    vulnerabilities,
)
from cpuprobe.report.verdict import gravest, headline, verdict_word
from cpuprobe.report.witnesses import agreements, disagreements
from cpuprobe.words import cpu_list, plain

_MOST_NARROW = 3  # columns that still fit two tables side by side
_MOST_WORDS = 4  # columns beyond which the state's word is only read aloud
_MOST_KINDS = 16  # kinds of CPU of one machine that get a column
_LOUD = frozenset({"withheld", "broken", "uneven"})
_MILD = frozenset({"gated", "hidden"})

_MEANING = {
    "usable": "claimed, enabled, executes",
    "absent": "not claimed",
    "withheld": "claimed, but the OS or kernel took it away",
    "broken": "claimed and enabled, but faults or computes wrongly",
    "hidden": "executes, though CPUID denies it",
    "gated": "needs a permission of each process",
    "uneven": "the CPUs disagree",
    "unknown": "no witness speaks of it",
    "unverified": "not executed",
}

# What the psABI levels leave over, by encoding.
_BEYOND = "Beyond the levels: "
_REST = {
    "legacy": f"{_BEYOND}legacy encoding",
    "vex-gpr": f"{_BEYOND}VEX, general registers",
    "vex": f"{_BEYOND}VEX, vectors",
    "evex": f"{_BEYOND}AVX-512, AVX10",
    "amx": "AMX tiles",
    "apx": "APX",
    "a64": f"{_BEYOND}general registers, Advanced SIMD",
    "pauth": "Pointer authentication",
    "sve": "SVE and SVE2",
    "sme": "SME",
    "hint": "Hints",
}


def render_html(machines: Sequence[ReportedMachine]) -> str:
    """The page for one machine or several."""
    several = len(machines) > 1
    columns = _columns(machines)
    return render(
        "report.html",
        kind="report",
        title=f"{len(machines)} machines" if several else brand(machines[0]),
        machines=machines,
        columns=columns,
        families=list(_families(machines[0].assessment.isa)),
        meaning=_MEANING,
        column=spoken(machines[0].assessment).column,
        beyond=_BEYOND,
        most_narrow=_MOST_NARROW,
        most_words=_MOST_WORDS,
        brand=brand,
        by_gravity=by_gravity,
        facts=facts,
        answers=_answers(machines),
        differing=[
            name
            for names in dict(_families(machines[0].assessment.isa)).values()
            for name in names
            if len(_states(name, columns)) > 1
        ],
        gravest=gravest,
        key_facts=key_facts,
        until=until,
        vulnerabilities=vulnerabilities,
        headline=headline,
        installed=installed,
        legend=_legend,
        safe_on_all=_safe_on_all,
        states_of=_states,
        tone=_tone,
        tone_of=_tone_of,
        verdict_word=verdict_word,
        witnesses=_witnesses,
    )


def _answers(machines: Sequence[ReportedMachine]) -> list[str]:
    """Of two machines, whether what one compiles runs on the other."""
    if len(machines) != 2:
        return []
    sides = [Side(each.name, each.observation, each.assessment) for each in machines]
    difference = compare(*sides)
    lines = []
    for one, other, fit in ((1, 2, difference.a_on_b), (2, 1, difference.b_on_a)):
        said = "yes" if fit.runs else f"no: {' '.join(fit.missing)} not safe there"
        lines.append(f"Compiled by wasmtime on {one}, does it run on {other}? {said}")
    return lines


def brand(machine: ReportedMachine) -> str:
    """What to call a CPU."""
    identity = machine.assessment.identity
    return plain(identity.brand or "") or plain(identity.vendor or "") or "Unknown CPU"


def _witnesses(machine: ReportedMachine) -> list[str]:
    said = list(disagreements(machine))
    asked = agreements(machine)
    agree = [f"{', '.join(asked)} agree"] if asked and not said else []
    notes = (*machine.surroundings.notes, *machine.assessment.notes)
    return [f"{line}." for line in (*said, *agree, *notes)]


class _Column(msgspec.Struct, frozen=True):
    """One column of states, and the findings that a state may link to."""

    title: str
    short: str
    features: Mapping[str, FeatureAssessment]
    anchors: Mapping[str, str]


def _anchors(assessment: Assessment, prefix: str) -> dict[str, str]:
    """For each feature the gravest finding that names it."""
    anchors: dict[str, str] = {}
    for finding in by_gravity(assessment.findings):
        for name in finding.features:
            anchors.setdefault(name, f"{prefix}{finding.code}")
    return anchors


def _columns(subjects: Sequence[ReportedMachine]) -> list[_Column]:
    """A column a capture; or, for one machine with several kinds of CPU, one for each kind."""
    if len(subjects) > 1:
        return [
            _Column(
                subject.name,
                str(number),
                subject.assessment.features,
                _anchors(subject.assessment, f"m{number}-"),
            )
            for number, subject in enumerate(subjects, 1)
        ]
    (subject,) = subjects
    anchors = _anchors(subject.assessment, "")
    whole = _Column("all CPUs", "all", subject.assessment.features, anchors)
    kinds = [
        _Column(f"CPU {cpu_list(kind.cpus)}", f"CPU {cpu_list(kind.cpus)}", kind.features, anchors)
        for kind in subject.kinds[:_MOST_KINDS]
    ]
    return [whole, *kinds]


def _families(isa: str) -> Iterator[tuple[str, list[str]]]:
    """The features in scannable portions: each level's own, then the rest by encoding."""
    known = facts_named(isa)
    table = known.features()
    placed: set[str] = set()
    for level in known.levels():
        own = [name for name in table if name in level.features and name not in placed]
        placed.update(own)
        yield level.name, own
    for encoding, title in _REST.items():
        rest = [name for name in table if table[name].kind == encoding and name not in placed]
        if rest:
            yield title, rest


def _legend(columns: Sequence[_Column]) -> list[tuple[str, int]]:
    """The states that are there, and how many features of the first column are in each."""
    present = {feature.state for column in columns for feature in column.features.values()}
    first = [feature.state for feature in columns[0].features.values()]
    return [(state, first.count(state)) for state in _MEANING if state in present]


def _safe_on_all(names: Iterable[str], columns: Sequence[_Column]) -> int:
    return sum(all(column.features[name].safe for column in columns) for name in names)


def _states(name: str, columns: Sequence[_Column]) -> list[str]:
    return list(dict.fromkeys(column.features[name].state for column in columns))


def _tone_of(assessment: Assessment) -> str:
    """How a verdict looks: good is only what has executed."""
    if assessment.verdict == "consistent":
        return "good" if assessment.basis == "executed" else "quiet"
    return "bad" if assessment.verdict == "mismatch" else "warn"


def _tone(states: Iterable[str]) -> str:
    """How loud a row or cell is: as its loudest state."""
    found = frozenset(states)
    return "loud" if found & _LOUD else "mild" if found & _MILD else "quiet"
