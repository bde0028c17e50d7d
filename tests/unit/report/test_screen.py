"""The first screen, world by world: golden texts of 80 columns, and right at any width.

`python -m tests.unit.report.test_screen` writes the golden texts anew, to be reviewed as a diff.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from tests import arm_fakes
from tests.fakes import (
    V2,
    V3,
    V4,
    XCR0_AVX512,
    cpuinfo,
    gds_machine,
    group,
    observation,
)

from cpuprobe.assessment import assess
from cpuprobe.evidence.machines import parse_capture, read_capture
from cpuprobe.evidence.observation import Candidate, Observation
from cpuprobe.evidence.share import pack, unpack
from cpuprobe.facts.tables import load_table
from cpuprobe.report.layout import cells, pieces, text_of
from cpuprobe.report.screen import screen
from cpuprobe.report.text import lines
from cpuprobe.report.verdict import headline

DATA = Path(__file__).parents[2] / "data"
GOLDENS = DATA / "screens"
WIDTHS = (40, 60, 80, 100, 200)

LIES: tuple[str, ...] = ("avx512f", "avx512dq", "avx512vl", "avx512bw", "avx512cd")

WORLDS: dict[str, Observation] = {
    "healthy-v2": observation(group(V2, xcr0=None), listed=V2),
    "healthy-v3": observation(group(V3), listed=V3),
    "healthy-v4": observation(group(V4, xcr0=XCR0_AVX512), listed=V4),
    "gds": gds_machine(),
    "lying-cpu": observation(
        group(V4, xcr0=XCR0_AVX512, outcomes=dict.fromkeys(LIES, "sigill")), listed=V4
    ),
    "guest-with-masks": observation(
        group(V3, hypervisor="KVMKVMKVM", outcomes={"sha": "ok", "aes": "ok"}), listed=V3
    ),
    "hybrid": observation(
        (group(V3, cpus=(0, 1)), group(V2, cpus=(2, 3))),
        blocks=(cpuinfo(V3, cpus=(0, 1)), cpuinfo(V2, cpus=(2, 3))),
    ),
    "alder-lake-n-capture": read_capture(DATA / "captures" / "aida64-alder-lake-n.txt"),
    "insufficient-capture": parse_capture(
        b"flags : fpu vme de pse tsc sse sse2 ssse3 sse4_1 ...\n"
    ),
}


def _as_measured(machine: Observation) -> Observation:
    """A fake machine with the candidates that are real, by their names."""
    rows = (row.rpartition(": ") for row in load_table("share")["candidates"])
    real = {tuple(features.split()): name for name, _, features in rows}
    # AVX512VL has no instruction of its own; what is younger than these worlds may have none.
    wanted = {*real, *((name,) for name in V4)}
    kept = [at for at, each in enumerate(machine.candidates) if each.features in wanted]
    return msgspec.structs.replace(
        machine,
        candidates=tuple(
            Candidate(real.get(each.features, each.name), each.features)
            for each in map(machine.candidates.__getitem__, kept)
        ),
        groups=tuple(
            msgspec.structs.replace(group, ran=tuple(group.ran[at] for at in kept))
            for group in machine.groups
        ),
    )


WORLDS = {name: _as_measured(machine) for name, machine in WORLDS.items()}
CAPTURES = {name for name in WORLDS if name.endswith("-capture")}


def shown(name: str, width: int, code: str = "") -> list[str]:
    machine = WORLDS[name]
    on = "'my host.txt'" if name in CAPTURES else ""
    told = screen(assess(machine), machine.ran_on_each, width, on, code)
    return [text_of(line).rstrip() for line in told]


@pytest.mark.parametrize("name", WORLDS)
def test_the_screen_of_a_world_is_as_reviewed(name):
    """Word for word, on at most twenty lines of 80 columns."""
    told = shown(name, 80)

    assert "\n".join(told) + "\n" == (GOLDENS / f"{name}.txt").read_text()
    assert len(told) <= 20


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", WORLDS)
def test_the_screen_fits_every_width(name, width):
    """No line is wider than the terminal but a command, and no command is broken."""
    told = shown(name, width)
    wide = [line for line in told if cells(line) > width]

    assert all(line.lstrip().startswith("cpuprobe ") for line in wide)
    whole = "\n".join(shown(name, 1000))
    for command in re.findall(r"cpuprobe (?:flags|inspect|report|--all)\S*(?: \S+)*", whole):
        assert any(command in each for each in told), command


@pytest.mark.parametrize("name", WORLDS)
def test_nothing_is_cut(name):
    """Cause and remedy are told whole, whatever the width."""
    narrow, wide = (" ".join(" ".join(shown(name, width)).split()) for width in (40, 1000))
    words = re.findall(r"\S+", wide)

    assert "..." not in narrow
    assert sorted(words) == sorted(re.findall(r"\S+", narrow))


def test_no_terminal_is_too_narrow():
    """A row of evidence may take several lines there; every word is still told."""
    for name in ("gds", "hybrid", "healthy-v2"):
        assessment = assess(WORLDS[name])
        errors = [each for each in assessment.findings if each.severity == "error"]
        for width in (1, 20, 33, 45):
            told = "".join(text_of(line) for line in screen(assessment, 1, width))
            squeezed = "".join(told.split())

            assert "details" in squeezed, (name, width)
            assert all(each.features[0] in squeezed for each in errors), (name, width)


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("healthy-v3", "bold green"),
        ("gds", "bold red"),
        ("hybrid", "bold red"),
        ("insufficient-capture", "bold yellow"),
        ("alder-lake-n-capture", "bold"),
    ],
)
def test_colour_carries_the_verdict_alone(name, style):
    """One coloured word, and it is a word."""
    lines = screen(assess(WORLDS[name]), 1, 80)
    styles = [each.style for line in lines for each in pieces(line) if each.style]

    assert styles[0] == style
    assert set(styles[1:]) <= {"bold"}


if __name__ == "__main__":
    GOLDENS.mkdir(exist_ok=True)
    for world in WORLDS:
        (GOLDENS / f"{world}.txt").write_text("\n".join(shown(world, 80)) + "\n")


def test_what_did_not_run_on_a_cpu_was_not_executed_on_each():
    """Neither what was skipped, nor what raised a signal or gave a wrong result, on any CPU."""
    first = arm_fakes.group(arm_fakes.BASE, cpus=(0,))
    ran = first.ran.count("ok")

    assert 0 < ran < len(first.ran)
    assert arm_fakes.observation(first).ran_on_each == ran
    for outcome in ("skipped", "sigill", "wrong"):
        second = arm_fakes.group(arm_fakes.BASE, cpus=(1,), outcomes={"neon": outcome})
        assert arm_fakes.observation(first, second).ran_on_each == ran - 1, outcome


def test_a_share_code_tells_how_many_ran_and_an_old_one_does_not():
    """A code keeps one candidate of each kind: their number is not that of what ran."""
    machine = WORLDS["healthy-v4"]
    twice = msgspec.structs.replace(
        machine,
        candidates=(*machine.candidates, Candidate("vaddps zmm0, zmm1, zmm2", ("avx512f",))),
        groups=tuple(
            msgspec.structs.replace(group, ran=(*group.ran, "ok")) for group in machine.groups
        ),
    )
    told = unpack(pack(twice))
    old = msgspec.structs.replace(told, executions=0)

    assert len(told.candidates) < len(twice.candidates)
    assert told.ran_on_each == twice.ran_on_each == machine.ran_on_each + 1
    assert unpack(pack(told)).ran_on_each == told.ran_on_each
    assert unpack(pack(old)).ran_on_each == 0
    for number, words in ((7, "claims: 7 instructions executed on each CPU."), (0, "claims.")):
        assert words in "".join(map(text_of, screen(assess(machine), number, 200)))


def test_aarch64_is_spoken_of_in_its_own_words() -> None:
    """The first screen, the table and the page of an aarch64 machine name nothing of x86."""
    features = (*arm_fakes.BASE, "lse", "rdm")
    observation = arm_fakes.observation(
        arm_fakes.group(features), auxv=arm_fakes.auxv(features), cpuinfo=None
    )
    assessment = assess(observation)
    told = "\n".join(text_of(line) for line in screen(assessment, 5, 80))
    table = "\n".join(text_of(line) for line in lines(assessment, 100))

    assert "level       armv8.1-a: programs built for LSE atomics run" in told
    assert "has         CRC32 LSE\n" in told
    assert "feature       claimed  OS" in table
    for text in (told, table, headline(assessment)):
        assert not re.search(r"x86|XCR0|CPUID|psABI", text)


def test_who_claims_is_who_was_asked() -> None:
    """A kernel's list is not CPUID, nor is a compiler's."""
    listed = parse_capture(f"flags : lm {cpuinfo(V3).fields['flags']}\n".encode())
    read = read_capture(DATA / "captures" / "cpuid-r-sapphire-rapids-kvm-guest.txt")

    for machine, claim in ((listed, "the text"), (read, "CPUID")):
        assessment = assess(machine)
        told = "\n".join(text_of(line) for line in screen(assessment, 0, 200))

        assert f"Nothing known speaks against what {claim} claims, but nothing was exec" in told
        assert headline(assessment).count(claim) == 2


def test_both_texts_name_a_hypervisor_alike() -> None:
    """By its name; `KVMKVMKVM` is CPUID's spelling."""
    assessment = assess(WORLDS["guest-with-masks"])
    first = next(iter(screen(assessment, 1, 200)))
    table = next(iter(lines(assessment, 200)))

    assert ["guest of KVM" in re.split(", *", text_of(line)) for line in (first, table)] == [
        True
    ] * 2


def test_a_claim_without_its_base_is_not_vouched_for() -> None:
    """SVE2 without SVE: no text says that all is well; cause and cure stand on the screen."""
    listed = "fp asimd evtstrm aes pmull crc32 atomics fphp asimdhp cpuid asimdrdm sve2"
    block = f"processor : 0\nFeatures : {listed}\nCPU implementer : 0x61\nCPU part : 0x000\n"
    assessment = assess(parse_capture(block.encode()))
    told = "\n".join(text_of(line) for line in screen(assessment, 0, 80))

    assert "UNVERIFIED  sve2: claimed without what it builds on" in told
    assert re.search(r"^  why +SVE2 is claimed without SVE", told, re.MULTILINE)
    assert "arm64.nosve" in told and "until then" not in told
    assert re.search(r"^  not safe +SVE2$", told, re.MULTILINE)
    assert "SVE2" not in next(line for line in told.splitlines() if line.startswith("  has  "))
    for text in (told, headline(assessment), text_of([*lines(assessment, 100)][1])):
        assert "Nothing known speaks" not in text
