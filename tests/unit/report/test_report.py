"""`cpuprobe report`: Markdown for an issue, the whole JSON inside, other witnesses, -o."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.command import cpuprobe
from tests.fakes import (
    AMD,
    V2,
    V3,
    V4,
    XCR0_AVX512,
    ZEN4,
    gds_machine,
    group,
    observation,
)

from cpuprobe.assessment import assess
from cpuprobe.assessment.difference import Difference
from cpuprobe.errors import CaptureError
from cpuprobe.evidence import witnesses as identity_witnesses
from cpuprobe.evidence.block import BEGIN
from cpuprobe.evidence.container import container
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.observation import CpuidLeaf, Observation
from cpuprobe.evidence.witnesses import (
    ExternalWitnesses,
    Microarchitecture,
    OtherIdentity,
    PyCpuinfo,
    microarchitecture,
)
from cpuprobe.facts.features import load_features
from cpuprobe.report.document import Report, make_report, to_json
from cpuprobe.report.html import render_html
from cpuprobe.report.layout import pieces
from cpuprobe.report.markdown import cell, code, escape, render_markdown
from cpuprobe.report.subject import (
    ISSUE_LIMIT,
    ReportedMachine,
    facts,
    make_subject,
    vulnerabilities,
)
from cpuprobe.report.text import lines as text_lines
from cpuprobe.report.text import verdict_line
from cpuprobe.report.verdict import headline
from cpuprobe.report.witnesses import disagreements
from cpuprobe.version import VERSION
from cpuprobe.words import on_cpus

MARKDOWN = MarkdownIt("commonmark").enable("table")

# Ours: fixed words, codes and numbers.
SUMMARY = (
    r"<details><summary>(?:Findings: [CP0-9a-z(), ]+|Features on which the witnesses disagree: \d+"
    r"|The machine, and what other programs say of it|Safe flags for wasmtime \d+, none installed"
    r"|Whole report, for <code>cpuprobe inspect</code>)</summary>"
)

HOSTILE = (
    "evil | pipe",
    "`tick` ``two``",
    "<img src=x onerror=alert(1)>",
    "</details></pre></script><script>alert(1)</script>",
    "@octocat closes #1 https://evil.example www.evil.example",
    "a\n\n# heading\n```\nfence",
    "**bold** _it_ [x](javascript:alert(1)) ![y](z)",
    "\u202egnp.exe\x1b[2J\x00",
    "caf\u00e9 \U0001f600",
    "&lt;b&gt; &amp; \\",
)


def hostile_machine() -> Observation:
    """A capture whose every free text is an attack on whoever pastes or renders it."""
    joined = " ".join(HOSTILE)
    machine = gds_machine(release=joined, cmdline=HOSTILE, gds=f"Mitigation: AVX disabled {joined}")
    blocks = machine.cpuinfo
    assert blocks is not None
    fields = {**blocks[0].fields, "model name": joined, "microcode": joined}
    candidates = list(machine.candidates)
    avx = next(at for at, each in enumerate(candidates) if each.features == ("avx",))
    candidates[avx] = msgspec.structs.replace(candidates[avx], name=f"probe {joined}"[:256])
    return msgspec.structs.replace(
        machine,
        source=joined[:256],
        candidates=tuple(candidates),
        cpuinfo=(msgspec.structs.replace(blocks[0], fields=fields),),
        vulnerabilities={"gather_data_sampling": f"AVX disabled {joined}", joined[:256]: joined},
    )


def subject(machine: Observation, name: str = "a capture", **around: object) -> ReportedMachine:
    return make_subject(name, machine, assess(machine), ExternalWitnesses(**around))  # type: ignore[arg-type]


def report(
    *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return cpuprobe("report", *arguments, stdin=stdin, env=env)


@pytest.fixture
def gds_report(tmp_path: Path) -> Path:
    path = tmp_path / "gds.json"
    path.write_bytes(to_json(make_report(gds_machine(), assess(gds_machine()))))
    return path


def blocks(text: str) -> list[str]:
    """The data blocks that GitHub would render, each in a fence of its own."""
    fences = [token.content for token in MARKDOWN.parse(text) if token.type == "fence"]
    return [content for content in fences if content.startswith(BEGIN)]


def shown(text: str) -> str:
    """What stands before the first fold."""
    return text.partition("<details>")[0]


# --- what it says --------------------------------------------------------------------------------


def test_the_gds_report_says_what_a_maintainer_needs():
    """What is wrong, why, what to do; the machine; the evidence; and the rest is folded."""
    text = render_markdown([subject(gds_machine())])
    told = [line for line in shown(text).splitlines() if line]

    assert told[0].startswith("**MISMATCH**: avx, f16c, fma and avx2")
    assert told[1].startswith("- why: the kernel's Gather Data Sampling (GDS, Downfall)")
    assert told[2].startswith("- fix: Install current CPU microcode")
    assert told[3:] == [
        "- until then, for wasmtime: `cpuprobe flags --on 'a capture' --only-off --format cli`",
        "| machine | |",
        "|---|---|",
        "| CPU | `GenuineIntel, 2 CPUs` |",
        "| system | `Linux 6.1.0-49-amd64` |",
        "| psABI level | `x86-64-v2 safe, x86-64-v3 advertised by CPUID` |",
        f"| measured by | `cpuprobe {VERSION} from a capture: 22 "
        "instructions executed on each CPU` |",
        "| feature | CPUID | OS | kernel | executed |",
        "|---|---|---|---|---|",
        "| `avx`, `fma`, `avx2` | yes | no | no | sigill |",
        "| `f16c` | yes | no | yes | sigill |",
    ]
    for line in (
        "- family/model/stepping: `6/94/3 (0x6/0x5e/0x3)`",
        "- kernel: `Linux 6.1.0-49-amd64`",
        "- CPUs: `2 CPUs, numbered 0-1`",
        "- gather data sampling: `Mitigation: AVX disabled, no microcode`",
        "- where: both CPUs",
        "| `avx2` | yes | no | no | sigill | **withheld** |",
        "| `f16c` | yes | no | yes | sigill | **withheld** |",
    ):
        assert line in text.splitlines(), line
    assert text.count("**withheld**") == 4  # avx, avx2, fma, f16c and nothing that agrees
    assert "**CP101** (error)" in text
    assert "- what to do: Install current CPU microcode" in text
    off = next(line for line in text.splitlines() if line.startswith("off "))
    assert {"has_avx", "has_avx2", "has_fma", "has_bmi1"} <= set(off.split())


def test_a_healthy_machine_has_no_table():
    """Nothing to see is said in one sentence, and who says so."""
    text = render_markdown([subject(observation(group(V3), listed=V3), distribution="Debian 12")])

    assert text.startswith("**OK**: What this machine claims, it does; x86-64-v3 is safe.")
    assert "| feature |" not in text
    assert "| system | `Linux 6.12.48, Debian 12` |" in text
    assert "until then" not in text


def test_errors_stand_before_information():
    """Findings are ordered by gravity, then code."""
    text = render_markdown([subject(gds_machine())])
    shown = [line[2:7] for line in text.splitlines() if line.startswith("**CP")]

    assert shown[0] == "CP101"
    assert shown.index("CP104") < shown.index("CP504") < shown.index("CP601")


def test_headline_of_a_capture_without_execution():
    """It promises no more than CPUID does."""
    machine = observation(group(V3, executed=False), listed=V3)

    assert headline(assess(machine)) == (
        "Nothing known speaks against what CPUID claims, but nothing was executed. "
        "By CPUID, x86-64-v3 is safe."
    )
    told = dict(facts(subject(machine)))
    assert told["measured by"] == f"cpuprobe {VERSION} from a capture: nothing was executed"


@pytest.mark.parametrize(
    ("cpus", "of", "words"),
    [
        ((0,), 1, "CPU 0"),
        ((0, 1), 2, "both CPUs"),
        ((0, 1, 2), 3, "all 3 CPUs"),
        ((0, 1, 8), 16, "CPUs 0-1,8"),
        ((3,), 8, "CPU 3"),
    ],
)
def test_a_number_of_a_cpu_is_no_count(cpus, of, words):
    """`CPUs: 0` would read as none."""
    assert on_cpus(cpus, of) == words


def test_the_flaw_that_matters_stands_first():
    """Of the kernel's list of flaws one has to do with instructions."""
    flaws = {"spectre_v1": "Mitigation", "gather_data_sampling": "Vulnerable", "mds": "Vulnerable"}
    machine = msgspec.structs.replace(gds_machine(), vulnerabilities=flaws)

    assert next(vulnerabilities(subject(machine)))[0] == "gather_data_sampling"


@pytest.mark.parametrize(
    ("machine", "label", "value"),
    [
        (
            observation(group(V3, hypervisor="KVMKVMKVM"), listed=V3),
            "hypervisor",
            "KVM (KVMKVMKVM)",
        ),
        (observation(group(V3), listed=V3), "hypervisor", "none that CPUID shows"),
        (
            observation(group(V3, hypervisor="TCGTCGTCGTCG"), listed=V3),
            "emulator or translator",
            "QEMU (TCG)",
        ),
        (
            observation(group(V3), listed=V3, cpuinfo_mount="fuse.lxcfs"),
            "container",
            "LXC (lxcfs)",
        ),
        (
            observation(group(V3, vendor=AMD, signature=ZEN4), listed=V3),
            "emulator or translator",
            "/proc/cpuinfo describes another CPU than CPUID does (emulator, translator or fake)",
        ),
    ],
    ids=["kvm", "bare", "tcg", "lxcfs", "qemu-user"],
)
def test_surroundings_are_told(machine, label, value):
    """Hypervisor, container and emulator, each from its own evidence."""
    assert (label, value) in list(facts(subject(machine)))


# --- the data inside -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "machine",
    [
        gds_machine(),
        observation(
            (group(V4, cpus=(0,), xcr0=XCR0_AVX512), group(V3, cpus=(1,))),
            listed=V3,
        ),
    ],
    ids=["gds", "uneven"],
)
def test_round_trip_through_markdown(machine):
    """Markdown -> rendered page -> copied text -> inspect: the assessment, byte for byte."""
    text = render_markdown([subject(machine)])
    (block,) = blocks(text)
    expected = msgspec.json.encode(assess(machine))

    assert block.isascii()
    assert max(map(len, block.splitlines())) < 72
    assert msgspec.json.encode(assess(parse_capture(block.encode()))) == expected
    # And the whole text at once, as somebody pastes it.
    assert msgspec.json.encode(assess(parse_capture(text.encode()))) == expected


def test_a_hostile_report_is_refused_when_it_is_read():
    """No free text stands in a report: what has not its field's shape is no report, nor a text."""
    text = render_markdown([subject(hostile_machine())])
    (block,) = blocks(text)

    for content in (block, text):
        with pytest.raises(
            CaptureError, match="not a cpuprobe report: a text that no such place may hold - at"
        ):
            parse_capture(content.encode())


def test_round_trip_through_the_commands(gds_report, tmp_path):
    """report, then inspect of its file: the bytes of `inspect` of the original."""
    pasted = tmp_path / "issue.md"
    pasted.write_bytes(b"Hello,\r\n\r\n" + report("--from", str(gds_report)).stdout + b"\r\nthanks")
    original, copied = (
        json.loads(cpuprobe("inspect", "--json", path).stdout) for path in (gds_report, pasted)
    )

    assert copied["assessment"]["findings"][0]["code"] == "CP101"
    assert json.dumps(copied["assessment"]) == json.dumps(original["assessment"])


@pytest.mark.parametrize("machine", [gds_machine(), observation(group(V2), listed=V2)])
def test_reports_of_old_are_read(machine):
    """cpuprobe 0.1.0 folded the report as one line of JSON, with `<`, `>` and `&` escaped."""
    document = to_json(make_report(machine, assess(machine))).decode().strip()
    old = document.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    text = (
        "**MISMATCH**: something\n\n<details><summary>Whole report (JSON, for "
        f"<code>cpuprobe inspect</code>)</summary>\n\n```json\n{old}\n```\n\n</details>\n"
    )

    assert parse_capture(text.encode()) == machine


def test_this_machines_report_fits_an_issue():
    """The Markdown of a real probe, whole report included, is a fifth of GitHub's limit."""
    result = report()
    text = result.stdout.decode()

    assert result.returncode in (0, 1), result.stderr
    assert len(text) < ISSUE_LIMIT / 4
    (block,) = blocks(text)
    assert parse_capture(block.encode()).executed


def big_machine(kinds: int) -> Observation:
    """A machine with `kinds` kinds of CPU that no compression makes alike."""
    words = random.Random(kinds)
    groups = [group(V3, cpus=(0,))]
    for number in range(1, kinds):
        noise = [words.getrandbits(32) for _ in range(400)]
        extra = [CpuidLeaf(0x4, at, *noise[4 * at : 4 * at + 4]) for at in range(100)]
        other = group(V3, cpus=(number,))
        groups.append(msgspec.structs.replace(other, cpuid=(*other.cpuid, *extra)))
    return observation(tuple(groups), listed=V3)


def test_a_long_report_drops_the_assessment_then_the_data():
    """Below the limit everything; beyond it what inspect can make again; then a warning."""
    sizes = {kinds: len(subject(big_machine(kinds)).block) for kinds in (2, 12)}
    step = (sizes[12] - sizes[2]) / 10
    most = 2 + int((ISSUE_LIMIT - sizes[2]) / step)  # of which the data alone is as long
    seen = []
    for kinds in (1, 8, *range(most - 3, most + 1), 2 * most):
        machine = big_machine(kinds)
        text = render_markdown([subject(machine)])
        assert len(text) < ISSUE_LIMIT
        for block in blocks(text):
            assert assess(parse_capture(block.encode())) == assess(machine)
        short = "Without the assessment" in text
        seen.append("whole" if blocks(text) and not short else "short" if short else "none")
        if seen[-1] == "none":
            assert "cpuprobe report --format json -o FILE.json" in text

    assert seen == sorted(seen, key=("whole", "short", "none").index)
    assert {seen[0], seen[-1]} == {"whole", "none"}


# --- hostile captures ----------------------------------------------------------------------------


def test_hostile_text_is_only_text():
    """A stranger's strings make no HTML, link, image, heading, table cell or mention."""
    text = render_markdown([subject(hostile_machine(), name="<b>@x|`y`")] * 2)
    tokens = [each for token in MARKDOWN.parse(text) for each in (token, *(token.children or ()))]
    html = {token.content.strip() for token in tokens if token.type.startswith("html")}

    # Two are ours; comments split what GitHub would turn into links.
    assert html <= {
        "<!-- -->",
        "</details>",
    } | {summary for summary in html if re.fullmatch(SUMMARY, summary)}
    kinds = {token.type for token in tokens}
    assert not kinds & {"link_open", "image", "hr"}
    # Only the two names are headings; only ours are tables, with two, five or six cells a row.
    assert sum(token.type == "heading_open" for token in tokens) == 2
    rows = [token.type for token in tokens if token.type in ("tr_open", "td_open", "th_open")]
    widths = [len(row.split()) for row in " ".join(rows).split("tr_open")[1:]]
    assert set(widths) == {2, 5, 6}
    for token in tokens:
        if token.type == "text":
            assert "@octocat" not in token.content
            assert "https://evil" not in token.content
            assert "\x1b" not in token.content
            assert "\u202e" not in token.content


@given(st.text(min_size=1))
def test_code_spans_hold_any_text(text):
    """A span is one span, and its text is what was put in, white space and controls folded."""
    (paragraph,) = (
        token for token in MARKDOWN.parse(f"x {code(text)} y") if token.type == "inline"
    )
    spans = [token for token in paragraph.children or () if token.type == "code_inline"]
    if code(text) == "(empty)":
        assert not text.split()
        return

    assert len(spans) == 1
    assert [token.content for token in paragraph.children or () if token.type == "text"] == [
        "x ",
        " y",
    ]


@given(st.text(alphabet="|`\\ab \n"))
def test_cells_stay_one_cell(text):
    """Pipes and backticks in any order leave a row its two cells."""
    table = f"| a | b |\n|---|---|\n| {cell(text)} | z |\n"
    tokens = MARKDOWN.parse(table)

    assert [token.type for token in tokens].count("td_open") == 2
    assert [token.content for token in tokens if token.type == "inline"][-1] == "z"


@given(st.text())
def test_escaped_text_is_only_text(text):
    """Escaped text renders to text alone."""
    for token in MARKDOWN.parse(f"x {escape(text)} y"):
        for child in token.children or ():
            assert child.type == "text" or (child.type, child.content) == (
                "html_inline",
                "<!-- -->",
            ), child


# --- other witnesses -----------------------------------------------------------------------------


def cpuinfo_says(machine: Observation, **said: object) -> list[str]:
    other = OtherIdentity(library="py-cpuinfo 9.0.0", **said)  # type: ignore[arg-type]
    return list(disagreements(subject(machine, others=(other,))))


def test_agreement_is_told_too():
    """A witness that agrees is named."""
    flags = tuple(load_features()[name].kernel.flag or "" for name in V3)
    machine = observation(group(V3), listed=V3)
    other = OtherIdentity(library="py-cpuinfo 9.0.0", vendor="GenuineIntel", flags=flags)

    assert list(disagreements(subject(machine, others=(other,)))) == []
    text = render_markdown([subject(machine, others=(other,))])
    assert "Other witnesses agree: py-cpuinfo 9.0.0." in text


def test_a_witness_that_lists_what_faults_is_contradicted():
    """On a GDS machine py-cpuinfo lists AVX from CPUID alone."""
    (line,) = cpuinfo_says(gds_machine(), flags=("avx", "avx2", "sse", "sse2", "f16c"))[:1]

    assert "lists avx (withheld), f16c (withheld) and avx2 (withheld): not safe here" in line


def test_a_witness_that_misses_what_the_kernel_lists():
    """Its silence counts where the kernel lists the name."""
    machine = observation(group(V2, xcr0=0x3), listed=V2)
    every = [load_features()[name].kernel.flag or "" for name in V2]
    every.remove("popcnt")
    lines = cpuinfo_says(machine, flags=tuple(every))

    assert lines == ["py-cpuinfo 9.0.0 does not list popcnt, which are safe here"]


def test_another_identity_is_told():
    """Vendor, brand, family, model, stepping are compared where both know them."""
    lines = cpuinfo_says(gds_machine(), vendor="AuthenticAMD", family=6, stepping=4, brand="X")

    assert lines == [
        "py-cpuinfo 9.0.0 says vendor AuthenticAMD, CPUID says GenuineIntel",
        "py-cpuinfo 9.0.0 says stepping 4, CPUID says 3",
    ]


@pytest.mark.parametrize(("edx", "explained"), [(0, True), (1 << 30, False)])
def test_the_ebx_mistake_of_py_cpuinfo_is_explained(edx, explained):
    """3dnowext read from EBX[30] (a package type) and not from EDX[30]."""
    machine = observation(group(V3, vendor=AMD, signature=ZEN4), listed=None)
    leaves = tuple(
        msgspec.structs.replace(leaf, ebx=1 << 30, edx=leaf.edx | edx)
        if leaf.leaf == 0x80000001
        else leaf
        for leaf in machine.groups[0].cpuid
    )
    changed = msgspec.structs.replace(
        machine, groups=(msgspec.structs.replace(machine.groups[0], cpuid=leaves),)
    )
    lines = [line for line in cpuinfo_says(changed, flags=("3dnowext",)) if "EBX" in line]

    assert bool(lines) is explained


def test_a_microarchitecture_with_unsafe_features_is_told():
    """`-march=` by archspec's word would crash here."""
    guess = Microarchitecture("archspec 0.2.7", "haswell", ("avx", "avx2", "sse4.2"))
    lines = list(disagreements(subject(gds_machine(), host_microarchitecture=guess)))

    assert lines == [
        "archspec 0.2.7 takes this machine for haswell, whose code may use avx and avx2: "
        "not safe here"
    ]


def test_microarchitecture_is_told_by_features():
    """archspec's rule: the best generic level, or a vendor's CPU that builds on it."""
    pytest.importorskip("archspec")
    haswell = (*V3, "aes", "pclmul", "rdrnd")

    for features, vendor, name in (
        (V2, "GenuineIntel", "nehalem"),
        (V3, "GenuineIntel", "x86_64_v3"),
        (haswell, "GenuineIntel", "haswell"),
        (haswell, "AuthenticAMD", "x86_64_v3"),
    ):
        found = microarchitecture(observation(group(features, vendor=vendor), listed=None))
        assert found is not None
        assert found.name == name


def test_missing_libraries_are_a_note(monkeypatch):
    """Without py-cpuinfo and archspec the report is made all the same."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name in ("cpuinfo", "archspec") else find(name),
    )
    for name in ("archspec", "archspec.cpu"):
        monkeypatch.setitem(sys.modules, name, None)
    witness = PyCpuinfo()
    around = identity_witnesses.surroundings_here(gds_machine(), witness)

    assert around.others == ()
    assert around.microarchitecture is around.host_microarchitecture is None
    text = render_markdown([make_subject("x", gds_machine(), assess(gds_machine()), around)])
    assert "py-cpuinfo was not asked: it is not installed" in text
    assert "archspec was not asked: it is not installed" in text


@pytest.mark.parametrize(
    ("program", "note"),
    [
        ("print('{')", "py-cpuinfo gave no answer (exit code 0)"),
        ("raise SystemExit(3)", "py-cpuinfo gave no answer (exit code 3)"),
        ('print(\'{"family": "six"}\')', "py-cpuinfo gave no answer (exit code 0)"),
        ("import time; time.sleep(3600)", "py-cpuinfo did not answer within 1 seconds"),
    ],
    ids=["no-json", "fails", "wrong-type", "hangs"],
)
def test_a_broken_witness_is_a_note(monkeypatch, tmp_path, program, note):
    """Garbage, failure and silence of py-cpuinfo end in a note, and the child is gone."""
    (tmp_path / "cpuinfo.py").write_text(program)
    spec = importlib.util.spec_from_loader("cpuinfo", loader=None)
    assert spec is not None
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    if "sleep" in program:  # the others have the time to start beside any load
        monkeypatch.setattr(identity_witnesses, "_PATIENCE", 1)
    witness = PyCpuinfo()
    started = time.monotonic()

    assert witness.answer() is None
    assert witness.note == note
    assert time.monotonic() - started < 60
    witness.stop()


def test_py_cpuinfo_is_asked_here():
    """The real library answers, and only the known fields are kept."""
    pytest.importorskip("cpuinfo")
    said = PyCpuinfo().answer()

    assert said is not None
    assert said.library.startswith("py-cpuinfo ")
    assert "sse2" in said.flags
    assert set(said.__struct_fields__) == {
        "library",
        "vendor",
        "brand",
        "family",
        "model",
        "stepping",
        "flags",
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({".dockerenv": ""}, "Docker"),
        ({"run/.containerenv": "secret"}, "Podman"),
        ({"run/systemd/container": "systemd-nspawn\n"}, "systemd-nspawn"),
        ({"run/systemd/container": "of-alice\n"}, "yes, of a kind not known here"),
        ({"run/systemd/container": "\xff"}, None),
    ],
)
def test_container(tmp_path, files, expected):
    """By the files that container managers leave; unknown words are not repeated."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content.encode("latin-1"))

    assert container(str(tmp_path)) == expected


# --- the command ---------------------------------------------------------------------------------


def test_exit_codes(gds_report, tmp_path):
    """0 when it is written, whatever it says; 2 for nonsense, 4 for no capture."""
    healthy = observation(group(V3), listed=V3)
    good = tmp_path / "good.json"
    good.write_bytes(to_json(make_report(healthy, assess(healthy))))

    assert report("--from", str(gds_report)).returncode == 0
    assert report("--from", str(good)).returncode == 0
    for arguments, expected in (
        (("--format", "pdf"), 2),
        (("--from", str(good), "--root", "/x"), 2),
        (("--from", "/dev/null"), 4),
        (("--from", str(tmp_path / "none")), 4),
    ):
        result = report(*arguments)
        assert result.returncode == expected
        assert result.stdout == b""
        assert result.stderr.startswith(b"cpuprobe: error: ")
        assert result.stderr.count(b"\n") == 1


def test_json_is_the_report_file(gds_report):
    """--format json is what inspect --json prints; several captures are an array."""
    one = report("--format", "json", "--from", str(gds_report)).stdout
    two = report("--format", "json", "--from", str(gds_report), "--from", str(gds_report)).stdout

    assert one == gds_report.read_bytes()
    assert json.loads(two) == [json.loads(one)] * 2


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("r.html", b"<!DOCTYPE html>"),
        ("r.HTM", b"<!DOCTYPE html>"),
        ("r.json", b'{"schema":"cpuprobe.report/1"'),
        ("r.md", b"**MISMATCH**"),
        ("r.txt", b"**MISMATCH**"),
        ("r", b"**MISMATCH**"),
    ],
)
def test_the_format_is_as_the_file_is_called(gds_report, tmp_path, name, start):
    """-o x.html writes HTML; --format has the last word; the exit code lets `&&` go on."""
    result = report("--on", str(gds_report), "-o", str(tmp_path / name))

    assert (result.returncode, result.stderr) == (0, b"")
    assert (tmp_path / name).read_bytes().startswith(start)
    report("--on", str(gds_report), "-o", str(tmp_path / name), "--format", "markdown")
    assert (tmp_path / name).read_bytes().startswith(b"**MISMATCH**")


def verdicts(machine):
    """How a verdict begins in Markdown, its style as text, its class in HTML."""
    assessed = assess(machine)
    subject = make_subject("x", machine, assessed, ExternalWitnesses())
    style = next(
        style
        for line in text_lines(assessed, 100)
        for text, style in pieces(line)
        if text.startswith(verdict_line(assessed)[:20])
    )
    (kind,) = re.findall(r'<strong class="(\w+)">', render_html([subject]))
    return render_markdown([subject]).split("**")[1], style, kind


def test_only_what_has_executed_is_green():
    """By CPUID alone nothing is OK, and too little evidence is no verdict."""
    gds = gds_machine()
    healthy = observation(group(V3), listed=V3)
    claimed = observation(group(V3, executed=False), listed=V3)
    little = parse_capture(b"flags : fpu vme de pse tsc msr pae sse sse2 ssse3 sse4_1 ...\n")

    assert assess(little).verdict == "insufficient"
    assert verdicts(healthy) == ("OK", "bold green", "good")
    assert verdicts(claimed) == ("UNVERIFIED", "bold", "quiet")
    assert verdicts(little) == ("UNKNOWN", "yellow", "warn")
    assert verdicts(gds) == ("MISMATCH", "bold red", "bad")


def test_output_file_is_replaced_whole(gds_report, tmp_path):
    """-o leaves the file, its permissions, and nothing else."""
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / "report.md"
    target.write_text("old")
    target.chmod(0o640)
    result = report("--from", str(gds_report), "-o", str(target))

    assert (result.stdout, result.stderr) == (b"", b"")
    assert target.read_bytes() == report("--from", str(gds_report)).stdout
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert os.listdir(folder) == ["report.md"]


def test_output_through_a_link_and_to_a_device(gds_report, tmp_path):
    """A symbolic link stays one; a device is written to, never replaced."""
    target, link = tmp_path / "target.md", tmp_path / "link.md"
    target.write_text("")
    link.symlink_to(target)
    report("--from", str(gds_report), "-o", str(link))

    assert link.is_symlink()
    assert target.read_text().startswith("**MISMATCH**")
    read, write = os.pipe()
    with open(read, "rb") as reader, open(write, "wb"):
        report("--from", str(gds_report), "-o", f"/dev/fd/{write}")
        assert reader.read(12) == b"**MISMATCH**"
    report("--from", str(gds_report), "-o", "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_new_file_has_usual_permissions(gds_report, tmp_path):
    """As the umask says, not as mkstemp does."""
    target = tmp_path / "new.html"
    before = os.umask(0o027)
    try:
        report("--format", "html", "--from", str(gds_report), "-o", str(target))
    finally:
        os.umask(before)

    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.parametrize("where", ["none/report.md", ".", "file/report.md", "/proc/report.md"])
def test_unwritable_output_is_one_line(gds_report, tmp_path, where):
    """A missing folder, a folder, a file as folder: exit code 3, the name in the message."""
    (tmp_path / "file").write_text("")
    target = str(tmp_path / where)
    result = report("--from", str(gds_report), "-o", target)

    assert result.returncode == 3
    assert result.stdout == b""
    assert result.stderr.startswith(f"cpuprobe: error: {target}: ".encode())
    assert result.stderr.count(b"\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"gds.json", "file"}


def test_captures_are_named_without_their_folder(gds_report):
    """Several captures have headings; the folder, which may be a home, is not told."""
    text = report("--from", str(gds_report), "--from", str(gds_report)).stdout.decode()

    assert text.count("## `gds.json`") == 2
    assert str(gds_report.parent) not in text


# --- docs/report-format.md -----------------------------------------------------------------------

PAGE = (Path(__file__).parents[3] / "docs/report-format.md").read_text()


def test_every_key_of_a_report_is_documented():
    """Each property in the JSON Schema of report and difference stands in docs/report-format.md."""
    schemas = [msgspec.json.schema(kind)["$defs"] for kind in (Report, Difference)]
    keys = {
        key
        for schema in schemas
        for name, definition in schema.items()
        if name not in ("Pair", "FeaturePair")
        for key in definition.get("properties", ())
    }

    assert {"state", "ran_before_permission", "si_code", "a_on_b", "inference", "winch"} <= keys
    undocumented = {key for key in keys if f"`{key}`" not in PAGE and f'"{key}"' not in PAGE}
    assert undocumented == set()


def test_the_jq_examples_run(gds_report):
    """Every jq line of the page works on a report."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    examples = [line for line in PAGE.splitlines() if line.startswith("jq ")]
    outputs = [
        subprocess.run(
            line.replace("report.json", str(gds_report)), shell=True, capture_output=True, text=True
        )
        for line in examples
    ]

    assert [each.returncode for each in outputs] == [0, 0, 0, 0, 1]  # has_avx2 is false there
    assert outputs[0].stdout == "mismatch\n"
    assert outputs[1].stdout.startswith("CP101 error ")
    assert "sse4.2" in outputs[2].stdout.split()
    assert '"probe avx2"' in outputs[3].stdout.splitlines()
