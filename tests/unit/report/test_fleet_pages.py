"""The pages of `cpuprobe fleet`: true to the numbers, readable anywhere, deaf to hostile names."""

from __future__ import annotations

import html
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from tests.unit.report.test_html import ATTRIBUTES, ELEMENTS, Page
from tests.unit.report.test_report import HOSTILE

from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.fleet.model import (
    BestSet,
    Coverage,
    FindingCount,
    Fleet,
    Group,
    Matrix,
    Share,
    Skipped,
    Step,
    Target,
)
from cpuprobe.report.fleet_html import to_html
from cpuprobe.report.fleet_text import lines
from cpuprobe.report.fleet_words import headline, percent, percent_of, short
from cpuprobe.report.layout import text_of

# --- fleets built by hand: a plain count over lists, which the pages know nothing of -----------

TABLE = load_features()
LEVELS = {level.name: frozenset(level.features) for level in load_levels()}
V1, V2, V3, V4 = (LEVELS[f"x86-64-v{number}"] for number in (1, 2, 3, 4))
FLAGS = tuple(sorted(flag for flag in TABLE.by_cranelift if flag != "has_apx"))
NAMES = {flag: TABLE.by_cranelift[flag].name for flag in FLAGS}


class Kind(msgspec.Struct, frozen=True):
    """So many machines that are alike."""

    count: int
    model: str
    safe: frozenset[str]
    kernel: str = "6.1.0-18-amd64"
    hypervisor: str = "KVM"
    weight: float = 1.0
    finding: tuple[str, str, str, str] | None = None
    executed: bool = True


AVX_OFF = (
    "CP101",
    "error",
    "CPUID claims avx, but the operating system has not enabled the register state",
    "gather_data_sampling=force on the kernel's command line, without the new microcode",
)
MASKED = ("CP203", "info", "avx512f executes though CPUID denies it", "a hypervisor is present")


def closed(*names: str) -> frozenset[str]:
    return frozenset(names).union(*(TABLE.closure(name) for name in names))


def level_of(safe: frozenset[str]) -> str:
    return next((name for name in reversed(LEVELS) if LEVELS[name] <= safe), "none")


def build(
    kinds: Sequence[Kind],
    targets: Sequence[float] = (0.999, 0.99, 0.95),
    asked: Iterable[tuple[str, tuple[str, ...]]] = (),
    skipped: Sequence[Skipped] = (),
) -> Fleet:
    """A fleet counted the slow and obvious way."""
    weight = math.fsum(kind.count * kind.weight for kind in kinds)

    def share(members: Iterable[Kind]) -> Share:
        chosen = list(members)
        part = math.fsum(kind.count * kind.weight for kind in chosen)
        return Share(sum(kind.count for kind in chosen), part, part / weight)

    def meet(features: frozenset[str]) -> list[Kind]:
        return [kind for kind in kinds if features <= kind.safe]

    def named(flags: Iterable[str]) -> frozenset[str]:
        return frozenset(NAMES[flag] for flag in flags)

    def groups(key: str) -> tuple[Group, ...]:
        found: dict[str, list[Kind]] = {}
        for kind in kinds:
            found.setdefault(getattr(kind, key), []).append(kind)
        result = []
        for value, members in found.items():
            whole = share(members)
            levels: dict[str, float] = {}
            for kind in members:
                name = level_of(kind.safe)
                levels[name] = levels.get(name, 0) + kind.count * kind.weight / whole.weight
            bad = share(kind for kind in members if kind.finding == AVX_OFF)
            result.append(Group(value, whole, dict(sorted(levels.items())), bad))
        return tuple(sorted(result, key=lambda group: -group.machines.weight))

    current = frozenset.intersection(*(kind.safe for kind in kinds))
    everything = frozenset().union(*(kind.safe for kind in kinds))

    def step(added: frozenset[str], before: list[Kind], after: frozenset[str]) -> Step:
        left = meet(after)
        lost = [kind for kind in before if kind not in left]
        losers = Counter[str]()
        for kind in lost:
            losers[kind.model] += kind.count
        return Step(
            tuple(name for name in TABLE if name in added),
            tuple(flag for flag in FLAGS if NAMES[flag] in added),
            share(left),
            share(lost),
            tuple(name for name, _ in losers.most_common(5)),
        )

    curve = [step(current, list(kinds), current)] if current else []
    while current != everything:
        options = {
            name: current | {name} | (TABLE.closure(name) & everything)
            for name in TABLE
            if name in everything - current
        }
        best = max(
            options.values(),
            key=lambda each: (
                math.fsum(kind.count * kind.weight for kind in meet(each)),
                len(each),
            ),
        )
        curve.append(step(best - current, meet(current), best))
        current = best

    best_sets = []
    for k in range(len(FLAGS) + 1):
        names = FLAGS[:0]
        for each in curve:
            names = (*names, *each.flags)
        chosen = names[:k]
        if len(chosen) == k:
            best_sets.append(BestSet(k, chosen, share(meet(named(chosen)))))
    models = groups("model")
    shown = models[:60]
    rows: list[str] = []
    weights: list[float] = []
    shares: list[tuple[float, ...]] = []
    for group in shown:
        members = [kind for kind in kinds if kind.model == group.value]
        whole = share(members)
        rows.append(group.value)
        weights.append(whole.share)
        shares.append(
            tuple(
                share(kind for kind in members if NAMES[flag] in kind.safe).weight / whole.weight
                for flag in FLAGS
            )
        )
    findings: dict[tuple[str, str, str, str], list[Kind]] = {}
    for kind in kinds:
        if kind.finding:
            findings.setdefault(kind.finding, []).append(kind)
    return Fleet(
        cpuprobe="0.1.0",
        backend="duckdb",
        total=share(kinds),
        executed=share(kind for kind in kinds if kind.executed),
        mismatched=share(kind for kind in kinds if kind.finding == AVX_OFF),
        wasmtime="50.0.1",
        levels=tuple(Coverage(name, "level", share(meet(LEVELS[name]))) for name in LEVELS),
        profiles=(
            Coverage("debian-13", "distribution", share(meet(V1))),
            Coverage("rhel-10", "distribution", share(meet(V3))),
            Coverage("no-avx512", "policy", share(meet(V3 | closed("adx", "sha")))),
        ),
        flag_sets=tuple(Coverage(name, "flags", share(meet(named(f)))) for name, f in asked),
        features={
            name: share(kind for kind in kinds if name in kind.safe)
            for name in TABLE
            if name in everything
        },
        curve=tuple(curve),
        best=tuple(best_sets),
        targets=tuple(
            Target(each, max((b for b in best_sets if b.covered.share >= each), key=lambda b: b.k))
            for each in targets
        ),
        findings=tuple(
            FindingCount(code, severity, title, cause, share(members))
            for (code, severity, title, cause), members in sorted(findings.items())
        ),
        models=models,
        kernels=groups("kernel"),
        hypervisors=groups("hypervisor"),
        matrix=Matrix(tuple(rows), FLAGS, tuple(weights), tuple(shares)),
        skipped=tuple(skipped),
        unread=len(skipped),
    )


HASWELL = V3 | closed("aes", "pclmul", "rdrnd", "fsgsbase")
ZEN4 = V4 | closed("avx512vnni", "avx512bitalg", "avx512vbmi", "sha", "adx", "gfni", "vaes")

SMALL = build(
    [
        Kind(1, "Intel(R) Core(TM)2 Duo CPU E8400 @ 3.00GHz", V1 | closed("ssse3", "cx16")),
        Kind(2, "Intel(R) Xeon(R) CPU E5-2680 v3 @ 2.50GHz", HASWELL, kernel="5.14.0-427.el9"),
        Kind(3, "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz", V2, finding=AVX_OFF),
        Kind(2, "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz", V4 | HASWELL, kernel="5.14.0-427.el9"),
        Kind(4, "AMD EPYC 9654 96-Core Processor", ZEN4, hypervisor="none", executed=False),
    ],
    asked=[("has_avx2,has_fma", ("has_avx2", "has_fma"))],
    skipped=[Skipped("broken.json", "no capture of any kind that cpuprobe reads")],
)
ONE = build([Kind(1, "AMD EPYC 9654 96-Core Processor", ZEN4)])
BARE = build([Kind(5, "", frozenset(), kernel="", hypervisor="", executed=False)])
SPITEFUL = build(
    [
        *(
            Kind(1, text, HASWELL if number % 2 else V2, kernel=text, hypervisor=text)
            for number, text in enumerate(HOSTILE)
        ),
        Kind(1, "Very long brand string " * 5000, V3),
        Kind(1, "W" * 4000, V3, kernel="\u4e2d" * 300, finding=(*AVX_OFF[:2], *HOSTILE[2:4])),
    ],
    asked=[(text, ("has_avx",)) for text in HOSTILE],
    skipped=[Skipped(text, text) for text in HOSTILE],
)


def large(models: int = 60, machines: int = 100_000) -> Fleet:
    """60 CPU models, their numbers falling off by a power law, the last of them single machines."""
    order = [
        *(
            "sse3",
            "cx16",
            "ssse3",
            "sse4.1",
            "sse4.2",
            "popcnt",
            "sahf",
            "aes",
            "pclmul",
            "xsave",
            "avx",
        ),
        *("rdrnd", "f16c", "fsgsbase", "avx2", "fma", "bmi", "bmi2", "lzcnt", "movbe", "adx"),
        *("rdseed", "clflushopt", "sha", "avx512f", "avx512bw", "avx512cd", "avx512dq"),
        *("avx512vl", "avx512vnni", "avx512vbmi", "avx512bitalg", "gfni", "vaes", "avxvnni"),
    ]
    kinds = []
    counts = [max(1, round(machines * 0.13 / (1 + number) ** 1.25)) for number in range(models)]
    counts[0] += machines - sum(counts)
    for number, count in enumerate(counts):
        # The common models are modern, the rare ones of any age.
        reach = len(order) - (number * 7) % len(order) if number > 12 else len(order) - number
        safe = V1 | closed(*order[:reach]) | {"sse2"}
        vendor = "Intel(R) Xeon(R) Platinum" if number % 3 else "AMD EPYC"
        name = f"{vendor} {8000 + 31 * number} CPU @ 2.{number % 10}0GHz"
        finding = AVX_OFF if number % 17 == 5 else MASKED if number % 7 == 3 else None
        base = V2 if finding == AVX_OFF else safe
        some = count // 3
        for many, features in ((count - some, base), (some, base - {"rdseed"})):
            if many:
                kinds.append(
                    Kind(
                        many,
                        name,
                        features,
                        kernel=f"{4 + number % 3}.{number % 19}.0-{number}-generic",
                        hypervisor=("KVM", "Xen", "none", "VMware")[number % 4],
                        finding=finding,
                        executed=number % 5 != 0,
                    )
                )
    return build(kinds, skipped=[Skipped(f"host-{n}.json", "not JSON") for n in range(30)])


def staircase() -> Fleet:
    """A chain of models, each with one more feature, so that every step loses somebody."""
    names: list[str] = []
    for name in TABLE:
        if name not in V1 and not TABLE[name].privileged:
            names.append(name)
    safe, kinds = V1, []
    for number, name in enumerate(names[:46]):
        safe |= closed(name)
        kinds.append(Kind(2 ** min(number // 2, 16), f"model {number}", safe))
    return build(kinds, targets=(0.9999, 0.999, 0.99, 0.985, 0.95))


LARGE = large()
STAIRS = staircase()
FLEETS = {
    "12 machines": SMALL,
    "one": ONE,
    "bare": BARE,
    "hostile": SPITEFUL,
    "100,000": LARGE,
    "stairs": STAIRS,
}


# --- what the tests read from a page -------------------------------------------------------------

NUMBER = r"[<>]?[\d.,]+ %"


def text(fleet: Fleet, width: int = 100, top: int = 10) -> str:
    return "".join(f"{text_of(line).rstrip()}\n" for line in lines(fleet, width, top=top))


def section(page: str, title: str) -> list[str]:
    """The lines of a section, without its heading and the headings of its columns."""
    lines = page.splitlines()
    start = next(n for n, line in enumerate(lines) if re.match(rf"{re.escape(title)}( |$)", line))
    end = next((n for n in range(start, len(lines)) if not lines[n].strip()), len(lines))
    return lines[start + 2 : end]


def true_percent(shown: str, share: Share, total: Share) -> bool:
    """Whether a percentage as shown is right to its last digit, and careful at both ends."""
    if shown in ("0 %", "100 %"):
        return share.machines == (0 if shown == "0 %" else total.machines)
    number = float(shown.strip("<>% "))
    exact = 100 * share.share
    if shown.startswith("<"):
        return 0 <= exact < number
    if shown.startswith(">"):
        return number < exact <= 100
    digits = len(shown.split(maxsplit=1)[0].partition(".")[2])
    return 0 < number < 100 and abs(number - exact) <= 0.5 * 10**-digits + 1e-9


def losing(fleet: Fleet) -> list[Step]:
    """The steps that have a place of their own: the first, and those that lose somebody."""
    return [step for n, step in enumerate(fleet.curve) if n == 0 or step.lost.machines]


every_fleet = pytest.mark.parametrize("fleet", FLEETS.values(), ids=FLEETS.keys())


# --- percentages ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machines", "of", "shown"),
    [
        (0, 7, "0 %"),
        (7, 7, "100 %"),
        (2, 3, "66.7 %"),
        (1, 3000, "0.03 %"),
        (1, 30_000, "0.003 %"),
        (1, 1_000_000, "<0.001 %"),
        (1999, 2000, "99.95 %"),
        (9999, 10_000, "99.99 %"),
        (999_999, 1_000_000, ">99.999 %"),
        (9896, 10_000, "98.96 %"),  # not 99.0: it would miss a target of 99 %
        (99_896, 100_000, "99.896 %"),  # not 99.9 nor 99.90
        (99_900, 100_000, "99.9 %"),
        (9_899_999, 10_000_000, ">98.999 %"),
        (99, 100, "99.0 %"),
    ],
)
def test_percentages_use_the_digits_they_need(machines, of, shown):
    """Rounded to one digit, with more of them where one would tell an untruth."""
    share = Share(machines, machines, machines / of)

    assert percent_of(share, Share(of, of, 1.0)) == shown


@given(st.integers(1, 10**9), st.data())
def test_no_percentage_claims_all_or_none_or_a_target_wrongly(of, data):
    """For any part of any fleet: 100 % means all, 0 % none, and 99 or 99.9 at least so much."""
    machines = data.draw(st.integers(0, of))
    share = Share(machines, machines, machines / of)

    shown = percent_of(share, Share(of, of, 1.0))

    assert true_percent(shown, share, Share(of, of, 1.0)) or (shown.startswith((">", "<")))
    number = float(shown.strip("<>% "))
    for mark in (90, 95, 99, 99.9):
        if number >= mark and not shown.startswith("<"):
            assert machines * 1000 >= round(mark * 10) * of
    assert (shown == "100 %") == (machines == of)
    assert (shown == "0 %") == (machines == 0)


def test_a_machine_without_weight_is_a_machine():
    """Whoever is there, if weightless, is not nobody, and whoever is missing is missed."""
    total = Share(10, 100.0, 1.0)

    assert percent_of(Share(1, 0.0, 0.0), total) == "<0.001 %"
    assert percent_of(Share(9, 100.0, 1.0), total) == ">99.999 %"


@pytest.mark.parametrize("share", [math.nan, math.inf, -math.inf, -1.0, 2.0])
def test_a_share_that_is_none_is_no_crash(share):
    """Numbers that no fleet has are shown as 0 or 100 %."""
    assert percent(share) in ("0 %", "100 %")


def test_weights_and_numbers_are_not_mixed_up():
    """One of two machines with all the weight but a millionth covers nearly, not quite, all."""
    fleet = build([Kind(1, "heavy", V3, weight=999_999), Kind(1, "light", V2)])

    assert true_percent(">99.999 %", fleet.levels[2].covered, fleet.total)
    assert ">99.999 %         1        1  x86-64-v3" in text(fleet)
    assert "Shares are by weight; the machines weigh 1e+06 together." in text(fleet)
    assert "by weight" not in text(SMALL)


# --- the text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fleet", "line"),
    [
        (
            SMALL,
            "12 machines: x86-64-v2 covers 91.7 %, x86-64-v3 66.7 %; the largest set of flags for "
            "99 % has 3",
        ),
        (ONE, "1 machine: x86-64-v4 covers 100 %; the largest set of flags for 99 % has 18"),
        (BARE, "5 machines: x86-64-v1 covers 0 %; no flag is safe on 99 %"),
        (
            msgspec.structs.replace(SMALL, targets=(Target(0.9999, None),)),
            "12 machines: x86-64-v2 covers 91.7 %, x86-64-v3 66.7 %; no set of flags covers "
            "99.99 %",
        ),
        (
            msgspec.structs.replace(ONE, levels=(), targets=()),
            "1 machine: nothing was counted",
        ),
        (
            msgspec.structs.replace(ONE, total=Share(0, 0.0, 0.0)),
            "No machine to tell of.",
        ),
    ],
)
def test_the_first_line_is_the_verdict(fleet, line):
    """The number of machines, the levels that split them, and what covers 99 %."""
    assert headline(fleet) == line
    assert text(fleet, 100).splitlines()[0].strip() == line


def test_a_packager_reads_in_this_order():
    """Verdict, levels, curve, sets, what was asked for, findings, groups, what it rests on."""
    page = text(SMALL)
    wanted = [
        "\nflags for 99 %: has_cmpxchg16b has_sse3 has_ssse3",
        "\nMISMATCH: 3 machines (25.0 %) have a finding of severity error.",
        "\nlevels and profiles",
        "\nwhat each further feature costs",
        "\nlargest sets of flags  wasmtime 50.0.1",
        "\nsets of flags asked for",
        "\nfindings",
        "\nCPU models",
        "\nkernels",
        "\nhypervisors",
        "\nThe instructions were executed on 8 machines (66.7 %), not on the others",
        "\nNot read, and counted nowhere above: 1 capture.",
        "\n  broken.json: no capture of any kind that cpuprobe reads",
    ]

    places = [page.find(each) for each in wanted]

    assert -1 not in places
    assert places == sorted(places)


@every_fleet
@pytest.mark.parametrize("width", [60, 80, 100])
def test_plain_text_of_any_width(fleet, width):
    """No line is wider than it may be, and nothing but text where there is no terminal."""
    page = text(fleet, width)

    assert max(cell_len(line.rstrip()) for line in page.splitlines()) <= width
    assert not re.search("[\u2500-\u259f\u2026]", page)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", page)


@every_fleet
def test_the_levels_are_the_fleets(fleet):
    """Each level and profile with its share, its machines and those that lack it."""
    lines = section(text(fleet), "levels and profiles")
    told: dict[str, re.Match[str]] = {}
    for line in lines:
        shown = re.fullmatch(rf" *({NUMBER}) +([\d,]+) +([\d,]+)  (\S+(?:, \S+)*)  (\S+) *", line)
        assert shown, line
        told |= dict.fromkeys(shown[4].split(", "), shown)

    sets = (*fleet.levels, *fleet.profiles)
    assert sorted(told) == sorted(each.name for each in sets)
    for each in sets:
        shown = told[each.name]
        assert true_percent(shown[1], each.covered, fleet.total), each
        assert int(shown[2].replace(",", "")) == each.covered.machines
        assert int(shown[3].replace(",", "")) == fleet.total.machines - each.covered.machines
        assert shown[5] == each.kind


def test_profiles_that_cover_alike_share_a_line():
    """Only those of one kind, what covers most first, and never levels."""
    half, most = Share(6, 6.0, 0.5), Share(11, 11.0, 11 / 12)
    profiles = [("a", "distribution", half), ("b", "distribution", most), ("c", "policy", half)]
    profiles += [("d", "distribution", half)]
    fleet = msgspec.structs.replace(SMALL, profiles=tuple(Coverage(*each) for each in profiles))

    lines = [
        line.split(maxsplit=4)[4].split() for line in section(text(fleet), "levels and profiles")
    ]
    assert lines[4:] == [["b", "distribution"], ["a,", "d", "distribution"], ["c", "policy"]]
    assert [line[0] for line in lines[:4]] == list(LEVELS)


@every_fleet
def test_the_curve_is_the_fleets(fleet):
    """A row a step that loses somebody, with what it covers and loses, 24 rows at most."""
    if not fleet.curve:
        assert "no feature is safe on any machine" in text(fleet)
        return
    lines = section(text(fleet), "what each further feature costs")
    rows = [
        shown
        for line in lines
        if (shown := re.match(rf" *(\d+) +({NUMBER}) +([\d,]+) +([\d,]+|-)  (\S+)", line))
    ]

    steps = losing(fleet)
    told = steps if len(steps) <= 25 else steps[:24]
    assert [int(row[1]) for row in rows] == list(range(1, len(told) + 1))
    for row, step in zip(rows, told, strict=True):
        assert true_percent(row[2], step.covered, fleet.total)
        assert int(row[3].replace(",", "")) == step.covered.machines
        assert int(row[4].replace(",", "").replace("-", "0")) == step.lost.machines
        assert row[5] == step.added[0]
    if told != steps:
        assert f"and {len(steps) - 24} more steps, down to" in lines[-1]


def test_steps_without_a_loss_stand_with_the_step_before():
    """What costs nothing more is named where it is gained, with its flags."""
    lines = " ".join(" ".join(section(text(SMALL), "what each further feature costs")).split())

    assert (
        "2 91.7 % 11 1 sse4.1 sse4.2 and, at no further loss: popcnt sahf "
        "(has_sse41 has_sse42 has_popcnt) loses: Intel(R) Core(TM)2 Duo CPU E8400 @ 3.00GHz"
    ) in lines


@every_fleet
@pytest.mark.parametrize("title", ["CPU models", "kernels", "hypervisors"])
@pytest.mark.parametrize("top", [1, 3, 10, 100])
def test_groups_and_their_rest_are_the_whole_fleet(fleet, title, top):
    """What is listed and what `and N more` stands for add up to all machines."""
    lines = section(text(fleet, top=top), title)
    groups = {"CPU models": fleet.models, "kernels": fleet.kernels}.get(title, fleet.hypervisors)
    listed = [
        int(shown[1].replace(",", ""))
        for line in lines
        if (shown := re.match(rf" *([\d,]+) +{NUMBER} +([\d,]+|-) ", line))
    ]
    rest = re.search(r"^and ([\d,]+) more with ([\d,]+) machines? ", lines[-1])

    assert len(listed) == (len(groups) if len(groups) <= top + 1 else top)
    assert (rest is not None) == (len(listed) < len(groups))
    more = int(rest[2].replace(",", "")) if rest else 0
    assert sum(listed) + more == fleet.total.machines
    assert not rest or int(rest[1]) == len(groups) - len(listed)


def test_a_name_is_one_short_line():
    """Markup stays text, what moves the cursor is gone, and megabytes are cut before any work."""
    assert short("[bold]x[/bold]\x1b[2J\n y") == "[bold]x[/bold]\ufffd[2J y"
    assert short("") == "(empty)"
    assert cell_len(short("\u4e2d" * 10**7)) <= 72
    assert short("a" * 73) == "a" * 69 + "..."
    assert "evil | pipe" in text(SPITEFUL)
    assert "**bold** _it_ [x](javascript:alert(1)) ![y](z)" in text(SPITEFUL)


# --- the HTML page -------------------------------------------------------------------------------

FLEET_ELEMENTS = ELEMENTS | {"text", "line", "g", "desc"}
FLEET_ATTRIBUTES = ATTRIBUTES | {
    *("role", "aria-labelledby", "x1", "x2", "y1", "y2", "transform", "text-anchor"),
    "pointer-events",
}


@every_fleet
def test_the_page_is_sound_and_self_contained(fleet):
    """Balanced, only known elements and attributes, unique ids, no way out of the page."""
    source = to_html(fleet)
    parsed = Page(source)

    assert parsed.unbalanced == []
    assert parsed.open == []
    assert parsed.elements <= FLEET_ELEMENTS
    assert parsed.attributes <= FLEET_ATTRIBUTES
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {link.removeprefix("#") for link in parsed.links} <= set(parsed.ids)
    assert "default-src 'none'; style-src 'unsafe-inline'" in source
    assert not re.search(r"url\(|@import|<script|https?:(?!//(www\.)?evil)", source)
    for label in re.findall(r'aria-labelledby="([^"]+)"', source):
        assert set(label.split()) <= set(parsed.ids)


def test_hostile_values_are_text():
    """What a stranger wrote is shown as he wrote it, and is nothing but text."""
    source = to_html(SPITEFUL)
    parsed = Page(source)

    for hostile in HOSTILE:
        shown = " ".join(hostile.split())
        if not any(ord(each) < 32 or each == "\u202e" for each in shown):
            assert parsed.text.count(shown) >= 5, hostile
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", source)
    assert "<img" not in source
    assert len(source) < 300_000


def test_each_field_of_text_is_escaped():
    """Whatever field a stranger's text comes in, no tag of his reaches the page."""
    evil = "<b>\"'&</b>"
    swap = Share(1, 1.0, 0.5)
    fleet = msgspec.structs.replace(
        SMALL,
        cpuprobe=evil,
        backend=evil,
        wasmtime=evil,
        levels=(Coverage(evil, evil, swap),),
        flag_sets=(Coverage(evil, evil, swap),),
        features={evil: swap},
        curve=(Step((evil,), (evil,), swap, swap, (evil,)),),
        best=(BestSet(1, (evil,), swap),),
        targets=(Target(0.9, BestSet(1, (evil,), swap)),),
        findings=(FindingCount(evil, evil, evil, evil, swap),),
        models=(Group(evil, swap, {evil: 0.5}, swap),),
        matrix=Matrix((evil,), (evil,), (0.5,), ((0.5,),)),
        skipped=(Skipped(evil, evil),),
    )

    for source in (to_html(fleet), to_html(SPITEFUL)):
        assert "<b>" not in source
        assert "</b>" not in source
        assert Page(source).unbalanced == []
        assert Page(source).attributes <= FLEET_ATTRIBUTES
    assert html.unescape(to_html(fleet)).count(evil) >= 20
    assert "<b>" in text(fleet)


def axis(source: str) -> dict[str, float]:
    """The height of each labelled line of the curve's axis."""
    lines = re.findall(
        r'y1="([\d.]+)" y2="[\d.]+"/>\n<text class="soft"[^>]*>([\d.]+ %)</text>', source
    )
    return {label: float(y) for y, label in lines}


@pytest.mark.parametrize(
    "fleet", [SMALL, ONE, SPITEFUL, LARGE, STAIRS], ids=["12", "one", "hostile", "large", "stairs"]
)
def test_the_curve_stands_at_the_shares(fleet):
    """Read back from the picture: a level a step, at the height its share has on the axis."""
    source = to_html(fleet)
    (path,) = re.findall(r'id="curve-line" d="M[\d.]+ [\d.]+((?:V[\d.]+H[\d.]+)+)"', source)
    heights = [float(y) for y in re.findall(r"V([\d.]+)", path)]
    across = [float(x) for x in re.findall(r"H([\d.]+)", path)]
    ticks = axis(source)
    decade = (ticks["0 %"] - ticks["99 %"]) / 2

    steps = losing(fleet)
    assert len(heights) == len(steps)
    assert across == sorted(set(across))
    for y, step in zip(heights, steps, strict=True):
        if step.covered.machines == fleet.total.machines:
            assert y == ticks["100 %"]
        else:
            missing = 10 ** -((ticks["0 %"] - y) / decade)
            assert missing == pytest.approx(1 - step.covered.share, rel=1e-3)
            assert y > ticks["100 %"] + 1
    for label, y in ticks.items():
        if label not in ("100 %", "0 %"):
            share = float(label.split()[0]) / 100
            assert 10 ** -((ticks["0 %"] - y) / decade) == pytest.approx(1 - share, rel=1e-3)


@pytest.mark.parametrize("fleet", [SMALL, ONE, LARGE, STAIRS])
def test_the_curve_shows_targets_and_losses(fleet):
    """A dashed line a target, the loss of each step in figures, and labels that do not collide."""
    source = to_html(fleet)
    ticks = sorted(axis(source).values())

    assert source.count('<line class="target"') == len(fleet.targets)
    assert all(later - earlier >= 13 for earlier, later in itertools.pairwise(ticks))
    losses = [
        label.lstrip("\u2212")
        for label in re.findall(r'<text class="halo"[^>]*>([^<]+)</text>', source)
    ]
    steps = [step for step in losing(fleet) if step.lost.machines]
    assert len(losses) == len(steps)
    for shown, step in zip(losses, steps, strict=True):
        assert true_percent(shown.replace("&lt;", "<"), step.lost, fleet.total)


def test_close_targets_are_told_apart():
    """99.9 and 99 % lie as far apart as 99 and 90 %; a target near another has only its line."""
    ticks = axis(to_html(STAIRS))

    assert ticks["99 %"] - ticks["99.9 %"] == pytest.approx(ticks["90 %"] - ticks["99 %"], abs=0.01)
    assert "98.5 %" not in ticks
    assert {"99.99 %", "99.9 %", "99 %", "95 %"} <= set(ticks)


def test_a_fleet_with_nothing_in_common():
    """The first step then adds nothing, and both pages say so in words."""
    fleet = msgspec.structs.replace(
        SMALL, curve=(Step((), (), SMALL.total, Share(0, 0.0, 0.0)), *SMALL.curve[1:])
    )

    first = section(text(fleet), "what each further feature costs")[0]
    assert " ".join(first.split()) == "1 100 % 12 - nothing is safe on all machines"
    assert ["1", "100 %", "12", "-", "nothing is safe on all machines"] in Page(to_html(fleet)).rows


def test_a_curve_of_very_many_steps_ends():
    """The picture stops at 48 steps and says so; the table has them all."""
    steps = tuple(
        Step((f"f{n}",), (), Share(100 - n, 100 - n, (100 - n) / 100), Share(1, 1, 0.01))
        for n in range(100)
    )
    fleet = msgspec.structs.replace(SMALL, total=Share(101, 101.0, 1.0), curve=steps)
    source = to_html(fleet)

    assert "The picture ends at step 48 of 100." in source
    (path,) = re.findall(r'id="curve-line" d="([^"]+)"', source)
    assert path.count("H") == 48
    assert (
        len([row for row in Page(source).rows if len(row) == 5 and row[4].startswith("f")]) == 100
    )


@pytest.mark.parametrize("fleet", [SMALL, ONE, BARE, SPITEFUL, LARGE])
@pytest.mark.parametrize("kind", ["wide", "narrow"])
def test_the_matrix_is_the_fleets(fleet, kind):
    """A cell is filled, filled in part with its percent, or a dash, as its share is."""
    source = to_html(fleet)
    (picture,) = re.findall(rf'<div class="picture {kind}">(.*?)</svg></div>', source, re.DOTALL)
    shares = [share for row in fleet.matrix.shares for share in row]
    cells = re.findall(
        r"<g><title>[^<]*</title>(<(?:rect|line) class=\"(?:whole|some|none)\".*?)</g>", picture
    )

    assert len(cells) == len(shares)
    for cell, share in zip(cells, shares, strict=True):
        name = re.match(r'<\w+ class="(\w+)"', cell)
        assert name
        assert name[1] == ("whole" if share == 1 else "none" if share == 0 else "some")
        if name[1] == "some":
            filled, whole = (float(each) for each in re.findall(r' height="([\d.]+)"', cell))
            assert filled / (whole + 1) == pytest.approx(share, abs=0.01)
            (number,) = re.findall(r">([^<>]+)</text>", cell)
            assert int(number) == pytest.approx(100 * share, abs=0.5)


def test_partial_cells_never_read_all_or_none():
    """A part of a thousandth, and all but a thousandth, are not 0 and not 100."""
    matrix = Matrix(("m",), ("has_avx", "has_fma"), (1.0,), ((0.001, 0.999),))
    source = to_html(msgspec.structs.replace(ONE, matrix=matrix))

    assert source.count("&lt;1</text>") == 2
    assert source.count("&gt;99</text>") == 2


def test_small_shares_are_escaped_as_well():
    """The sign of `<0.001 %` opens no tag."""
    fleet = msgspec.structs.replace(ONE, executed=Share(1, 1.0, 1e-9), total=Share(9, 9.0, 1.0))
    tiny = (Coverage("rare", "policy", Share(1, 1.0, 1e-9)),)
    source = to_html(msgspec.structs.replace(fleet, profiles=tiny))

    assert '<td class="number">&lt;0.001 %</td>' in source
    assert "<0" not in source


@every_fleet
def test_the_page_has_the_tables_of_the_text(fleet):
    """Levels, sets, steps, targets and groups stand in tables with the same figures."""
    parsed = Page(to_html(fleet))
    rows = [[cell.strip() for cell in row] for row in parsed.rows]

    for each in (*fleet.levels, *fleet.profiles, *fleet.flag_sets):
        shown = percent_of(each.covered, fleet.total)
        lacking = fleet.total.machines - each.covered.machines
        figures = [shown, f"{each.covered.machines:,}", f"{lacking:,}"]
        assert any(
            row[0].endswith(f" {each.kind}")
            and short(each.name) in row[0].removesuffix(f" {each.kind}").split(", ")
            and row[2:] == figures
            for row in rows
        )
    for number, step in enumerate(losing(fleet), 1):
        figures = [
            str(number),
            percent_of(step.covered, fleet.total),
            f"{step.covered.machines:,}",
            f"{step.lost.machines:,}" if step.lost.machines else "-",
        ]
        assert any(row[:4] == figures and row[4].startswith(step.added[0]) for row in rows)
    for target in fleet.targets:
        assert target.best is not None
        figures = [percent_of(target.best.covered, fleet.total), str(target.best.k)]
        assert any(row[1:3] == figures and row[0].endswith(" %") for row in rows)
    for group in fleet.models[:50]:
        assert any(
            row[0] == short(group.value, 90) and row[2] == f"{group.machines.machines:,}"
            for row in rows
        )
    for row, shares in zip(fleet.matrix.rows, fleet.matrix.shares, strict=True):
        figures = [percent(share).removesuffix(" %") for share in shares]
        assert any(each[0] == short(row, 46) and each[2:] == figures for each in rows)
    for each in fleet.findings:
        assert short(each.title, 300) in parsed.text
        assert short(each.cause, 300) in parsed.text


def test_profiles_of_cpus_are_folded_away():
    """A hundred of them stand in a part that opens; distributions are in sight."""
    many = tuple(Coverage(f"lake-{n}", "cpu", SMALL.total) for n in range(100))
    source = to_html(msgspec.structs.replace(SMALL, profiles=(*SMALL.profiles, *many)))
    before, _, after = source.partition("<details><summary>And 100 profiles of CPUs</summary>")

    assert "debian-13" in before
    assert "lake-" not in before
    assert after.partition("</details>")[0].count("lake-") == 100
    assert after.partition("</details>")[0].count("<tr>") == 2  # they cover alike


def test_the_curve_is_no_picture_on_a_phone():
    """What is too wide to be read there is hidden; every step has a bar instead."""
    source = to_html(SMALL)

    assert '<div class="picture curve-picture wide"' in source
    assert source.count('<span class="covers narrow">') == len(losing(SMALL))
    assert ".wide { display: none; }" in source.partition("@media (max-width: 40rem)")[2]


def test_the_page_says_what_it_rests_on():
    """Mismatch, execution and unread captures are in words on the page as well."""
    words = Page(to_html(SMALL)).text.replace("\xa0", " ")

    assert "MISMATCH : 3 machines (25.0 %) have a finding of severity error." in words
    assert "executed on 8 machines (66.7 %), not on the others" in words
    assert "broken.json" in words
    assert "Nothing was executed on any machine" in Page(to_html(BARE)).text
