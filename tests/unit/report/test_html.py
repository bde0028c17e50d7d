"""The HTML report: self-contained, readable without colour, strict about hostile values."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from html.parser import HTMLParser

import msgspec
import pytest
from tests.fakes import V3, V4, XCR0_AVX512, gds_machine, group, observation
from tests.unit.report.test_report import HOSTILE, hostile_machine

from cpuprobe.assessment import assess
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.observation import Observation
from cpuprobe.evidence.witnesses import ExternalWitnesses
from cpuprobe.report.html import render_html
from cpuprobe.report.pages import environment
from cpuprobe.report.subject import make_subject

STYLE, DRAWN = (environment().get_template(name).render() for name in ("page.css", "shapes.svg"))
SHAPES = dict(re.findall(r'<symbol id="shape-(\w+)"[^>]*>(.*)</symbol>', DRAWN))

VOID = {"meta", "use", "path", "circle", "rect", "br"}
ELEMENTS = VOID | {
    *("html", "head", "title", "style", "body", "main", "header", "footer", "section", "article"),
    *("h1", "h2", "h3", "p", "a", "span", "div", "small", "strong", "code", "pre"),
    *("dl", "dt", "dd", "ul", "ol", "li", "details", "summary"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("svg", "defs", "symbol"),
}
ATTRIBUTES = {
    *("lang", "charset", "name", "content", "http-equiv", "class", "id", "href", "title", "scope"),
    *("style", "width", "height", "aria-hidden", "aria-label", "tabindex"),
    *("viewbox", "d", "cx", "cy", "r", "x", "y", "rx", "fill", "stroke", "stroke-width"),
    *("stroke-linecap", "stroke-linejoin", "stroke-dasharray"),
}


class Page(HTMLParser):
    """A page taken apart: elements, ids, links, tables, text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.elements: set[str] = set()
        self.words: list[str] = []
        self.pre = ""
        self.rows: list[list[str]] = []
        self.unbalanced: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "action"):
                self.links.append(value or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words.append(data)
        if "pre" in self.open:
            self.pre += data
        if self.open and ("td" in self.open or "th" in self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(machines: Sequence[Observation], name: str = "capture") -> tuple[str, Page]:
    subjects = [make_subject(name, each, assess(each), ExternalWitnesses()) for each in machines]
    source = render_html(subjects)
    return source, Page(source)


HEALTHY = observation(group(V3), listed=V3)
UNEVEN = observation((group(V4, cpus=(0, 1), xcr0=XCR0_AVX512), group(V3, cpus=(2, 3))), listed=V3)


@pytest.mark.parametrize(
    "machines",
    [
        [gds_machine()],
        [HEALTHY],
        [UNEVEN],
        [gds_machine(), HEALTHY, UNEVEN],
        [hostile_machine()],
        [hostile_machine(), hostile_machine()],
    ],
    ids=["gds", "healthy", "uneven", "three", "hostile", "hostile twice"],
)
def test_the_page_is_sound_and_self_contained(machines):
    """Balanced, only known elements and attributes, unique ids, every link leads into the page."""
    source, parsed = page(machines, name=" ".join(HOSTILE))

    assert parsed.unbalanced == []
    assert parsed.open == []
    assert parsed.elements <= ELEMENTS
    assert parsed.attributes <= ATTRIBUTES
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {link for link in parsed.links if link.removeprefix("#") not in parsed.ids} == set()
    assert all(link.startswith("#") for link in parsed.links)
    assert "default-src 'none'; style-src 'unsafe-inline'" in source
    assert not re.search(r"url\(|@import|</style>.*</style>", STYLE)


def test_hostile_values_are_text():
    """What a stranger wrote is shown as he wrote it, and is nothing but text."""
    _, parsed = page([hostile_machine()])

    for text in HOSTILE:
        shown = " ".join(text.split())
        if not any(ord(each) < 32 or each == "\u202e" for each in shown):
            assert shown in parsed.text, text
    assert "\u202e" not in parsed.text
    assert "\x1b" not in parsed.text


def test_every_feature_has_its_row_and_says_its_state_in_words():
    """One row a feature with state and the four witnesses, all as text."""
    machine = gds_machine()
    _, parsed = page([machine])
    rows = {row[0]: row[1:] for row in parsed.rows if len(row) == 6}

    for name, feature in assess(machine).features.items():
        assert rows[name][0] == feature.state, name
    assert rows["avx2"] == ["withheld", "yes", "no", "no", "sigill"]
    assert rows["f16c"] == ["withheld", "yes", "no", "yes", "sigill"]


def test_several_captures_are_columns():
    """A column a capture, in their order."""
    machines = [HEALTHY, gds_machine(), UNEVEN]
    _, parsed = page(machines)
    rows = {row[0]: row[1:] for row in parsed.rows}

    assert rows["feature"] == ["1", "2", "3"]
    assert rows["avx2"] == ["usable", "withheld", "usable"]
    assert rows["avx512f"] == ["absent", "absent", "uneven"]


def test_what_is_wrong_stands_first():
    """Verdict, why, fix and the command; findings; then all that is merely so."""
    source, parsed = page([gds_machine()])
    places = [
        source.index(each)
        for each in (
            '<h1 class="verdict">',
            "<dt>why</dt>",
            "<dt>fix</dt>",
            '<pre class="command">cpuprobe flags --on capture --only-off --format cli</pre>',
            'id="findings"',
            'id="features"',
            'id="facts"',
            'id="data"',
        )
    ]

    assert places == sorted(places)
    assert "Mismatch. avx, f16c, fma and avx2: not usable here" in parsed.text


def test_of_two_machines_the_difference_stands_first():
    """Whether what one compiles runs on the other, and only the features that are not alike."""
    source, parsed = page([HEALTHY, gds_machine()])
    differs = source.partition('id="differences"')[2].partition('id="features"')[0]
    names = {row[0] for row in Page(differs).rows} - {"feature"}
    states = [assess(each).features for each in (HEALTHY, gds_machine())]

    assert names == {name for name in states[0] if states[0][name].state != states[1][name].state}
    assert "avx2" in names
    assert "Compiled by wasmtime on 1, does it run on 2? no: " in parsed.text
    assert "Compiled by wasmtime on 2, does it run on 1? yes" in parsed.text
    assert "No feature is in another state" in page([HEALTHY, HEALTHY])[1].text


def test_kinds_of_cpu_are_columns():
    """One machine whose CPUs disagree: all, and each kind by its CPU numbers."""
    _, parsed = page([UNEVEN])
    rows = {row[0]: row[1:] for row in parsed.rows}

    assert rows["feature"] == ["all", "CPU 0-1", "CPU 2-3"]
    assert rows["avx512f"] == ["uneven", "withheld", "absent"]
    assert rows["avx2"] == ["usable", "usable", "usable"]


def test_states_differ_in_shape():
    """No two states share a drawing, whatever their colour, and the legend names each present."""
    assert len(set(SHAPES.values())) == len(SHAPES)
    _, parsed = page([gds_machine()])
    for word in ("usable claimed, enabled, executes", "withheld claimed, but the OS or kernel"):
        assert word in parsed.text


def test_findings_have_anchors_and_states_link_to_them():
    """#CP101 exists, and the withheld states lead there."""
    source, parsed = page([gds_machine()])

    assert {"CP101", "CP104", "CP502", "CP504", "CP601"} <= set(parsed.ids)
    assert source.count('<a href="#CP101">withheld</a>') == 4
    assert {"m1-CP101", "m2-CP101"} <= set(page([gds_machine()] * 2)[1].ids)


def test_dark_light_phone_and_print():
    """The style sheet answers to the reader's colour scheme and to a narrow screen."""
    for rule in ("prefers-color-scheme: dark", "max-width: 40rem", "@media print"):
        assert rule in STYLE
    source, _ = page([HEALTHY])
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in source


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_contrast(theme):
    """Text colours reach 4.5:1 on the paper of their theme (WCAG 2.1, 1.4.3)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = STYLE.split("@media (prefers-color-scheme: dark)")[:2]
    part = light if theme == "light" else dark.split("* {")[0]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part))
    for paper, inks in (
        ("paper", ("ink", "soft", "good", "bad", "warn", "info", "mask")),
        ("bad-wash", ("ink", "soft", "bad")),
        ("warn-wash", ("ink", "soft", "warn", "mask")),
        ("wash", ("ink", "soft")),
    ):
        for ink in inks:
            low, high = sorted((luminance(colours[paper]), luminance(colours[ink])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (paper, ink)


@pytest.mark.parametrize("machine", [gds_machine(), UNEVEN], ids=["gds", "uneven"])
def test_round_trip_through_the_page(machine):
    """The data copied from the page, and the page's file itself, inspect to the same bytes."""
    source, parsed = page([machine])
    expected = msgspec.json.encode(assess(machine))

    assert msgspec.json.encode(assess(parse_capture(parsed.pre.encode()))) == expected
    assert msgspec.json.encode(assess(parse_capture(html.unescape(source).encode()))) == expected
    assert msgspec.json.encode(assess(parse_capture(source.encode()))) == expected


def test_the_verdict_is_drawn_as_what_it_is():
    """What nothing executed is unverified, on either instruction set, in a word and in a shape."""
    listed = "fp asimd evtstrm crc32 cpuid"
    arm = f"processor : 0\nFeatures : {listed}\nCPU implementer : 0x41\nCPU part : 0xd08\n"
    for machine, drawn in (
        (HEALTHY, ("usable", "OK.")),
        (gds_machine(), ("broken", "Mismatch.")),
        (parse_capture(arm.encode()), ("unverified", "Unverified.")),
        (parse_capture(b"flags : fpu vme de lm sse2 ..."), ("unknown", "Unknown.")),
    ):
        source = page([machine])[0]
        verdict = source[source.index('class="verdict"') :]

        assert re.findall(r"#shape-(\w+).*?<strong[^>]*>\s*(\S+)<", verdict, re.DOTALL)[0] == drawn
