"""One machine, one set of flags: whichever command is asked, or it says what else there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cpuprobe.cli import run

ROOT = Path(__file__).parents[3]
MACHINES = [
    "docs/examples/gds.json",
    "tests/data/captures/gds-skylake-lscpu.txt",
    "tests/data/reports/qemu-user-haswell-claims-avx512.json",
]


@pytest.fixture
def say(capfd, monkeypatch):
    monkeypatch.chdir(ROOT)

    def said(*arguments: str) -> str:
        assert run(list(arguments)) in (0, 1)
        text: str = capfd.readouterr().out
        return text

    return said


def off_in(text: str) -> set[str]:
    return set(re.findall(r"-C cranelift-(has_\w+)=false", text))


@pytest.mark.parametrize("machine", MACHINES)
def test_the_flags_that_are_off_are_the_same_everywhere(machine, say):
    """`flags` in any format, `inspect`, `report` and `diff`."""
    flags = json.loads(say("flags", "--on", machine, "--format", "json"))
    off = {flag for flag, value in flags.items() if not value}
    inspected = json.loads(say("inspect", machine, "--json"))["assessment"]["cranelift"]
    everything = say("inspect", machine, "--all")
    listed = everything.partition("\n  off ")[2].partition("\n  cpuprobe flags")[0]
    reported = re.search(r"(?m)^off (.*)$", say("report", "--on", machine))

    assert off_in(say("flags", "--on", machine, "--only-off", "--format", "cli")) == off
    assert {flag for flag, value in inspected.items() if not value} == off
    assert set(listed.split()) == off
    assert reported is not None
    assert set(reported[1].split()) == off


@pytest.mark.parametrize("machine", MACHINES)
def test_explain_names_those_of_the_crash_and_where_all_are(machine, say):
    """What keeps wasmtime off the instruction is a part of the set, and the whole is pointed to."""
    asked = ("explain", "vaddpd zmm0, zmm1, zmm2", "--on", machine)
    off = off_in(say("flags", "--on", machine, "--only-off", "--format", "cli"))
    text = say(*asked)
    part = {
        flag for flag, value in json.loads(say(*asked, "--json"))["crashes"][0]["flags"].items()
    }

    assert part
    assert off_in(text) == part
    assert part < off
    assert "all that is not safe there" in text
    assert f"cpuprobe flags --only-off --on {machine}" in text


@pytest.mark.parametrize("machine", MACHINES)
def test_no_option_is_broken_at_a_line_end(machine, say):
    """`-C` and its setting stay together, and so do commands."""
    for words in (["explain", "vaddpd zmm0, zmm1, zmm2", "--on", machine], ["inspect", machine]):
        for line in say(*words).splitlines():
            assert not re.search(r"(?:^|\s)(?:-C|--on|--format|cranelift-\w*|has_)$", line), line
            assert not re.match(r"\s*(?:--only-off|--on|=false|cranelift-)", line), line
