"""`cpuprobe flags` cut down to profiles, and why each flag is off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fakes import V3, V4, XCR0_AVX512, gds_machine, group, observation

from cpuprobe.assessment import assess
from cpuprobe.cli import run
from cpuprobe.emit import FORMATS, choose, choose_alone
from cpuprobe.errors import UsageError
from cpuprobe.evidence.machines import read_capture
from cpuprobe.facts.features import load_features
from cpuprobe.facts.profiles import Profile, find_profile
from cpuprobe.facts.wasmtime import lookup

CAPTURES = Path(__file__).parents[2] / "data" / "captures"
BEYOND_V2 = {"has_avx", "has_avx2", "has_fma", "has_bmi1", "has_bmi2", "has_lzcnt"}


def v4_machine():
    return observation(group(V4, xcr0=XCR0_AVX512), listed=V4)


def made(name: str, *features: str) -> Profile:
    return Profile(
        name=name,
        kind="user",
        purpose="made for a test",
        source="this test",
        origin="here",
        features=frozenset(features),
    )


def test_profiles_and_machines_are_intersected():
    """A v4 machine and a v3 one, within v3 and within a profile without FMA: neither has more."""
    thrifty = made("thrifty", *(find_profile("x86-64-v3").features - {"fma"}))
    machines = [assess(v4_machine(), "50"), assess(observation(group(V3), listed=V3), "50")]

    flags = choose(machines, profiles=[find_profile("x86-64-v3"), thrifty])

    assert flags.values["has_avx2"]
    assert not flags.values["has_fma"]
    assert not any(on for flag, on in flags.values.items() if "512" in flag)
    assert flags.level == "x86-64-v2"  # FMA is part of v3


def test_every_reason_is_told():
    """Machine, profile and --without each give theirs, in that order; `off` is the first."""
    machines = [assess(v4_machine(), "50"), assess(gds_machine(), "50")]

    flags = choose(machines, profiles=[find_profile("x86-64-v2")], without=["avx"])

    assert flags.reasons["has_avx"] == (
        "machine 2: avx is withheld",
        "given up (--without avx)",
        "not in x86-64-v2",
    )
    assert flags.off["has_avx"] == "machine 2: avx is withheld"
    assert set(flags.reasons) == {flag for flag, on in flags.values.items() if not on}


def test_a_profile_that_is_not_down_closed_enables_nothing_without_its_base():
    """avx2 without avx: AVX2 is off, and the reason names what is missing."""
    odd = made("odd", *(find_profile("x86-64-v3").features - {"avx"}))

    flags = choose([assess(v4_machine(), "50")], profiles=[odd])

    assert not flags.values["has_avx2"]
    assert flags.reasons["has_avx2"] == ("odd has it without avx",)
    table = load_features()
    assert all(table.closure(name) <= flags.safe for name in flags.safe)


def test_alone_asks_no_machine():
    """--alone gives the whole profile, whatever the machine has, and says so."""
    flags = choose_alone([find_profile("x86-64-v4")], lookup("50"))

    assert flags.values["has_avx512f"]
    assert flags.values["has_bmi2"]
    assert not flags.values["has_avx512vbmi"]
    assert flags.reasons["has_apx"][0] == "this wasmtime accepts it on no host"
    assert flags.machines == 0
    rust = FORMATS["rust"](flags)
    assert "was executed" not in rust
    assert "SAFETY: only for machines that meet x86-64-v4." in rust


def test_alone_switches_off_all_beyond_the_profile_in_other_runtimes():
    """Where the machine is unknown, glibc is told to stay off everything the profile lacks."""
    flags = choose_alone([find_profile("x86-64-v2")], lookup("50"))

    assert "-AVX2" in FORMATS["glibc"](flags)
    assert FORMATS["gcc"](flags).split()[0] == "-march=x86-64-v2"


def test_a_capture_without_execution_promises_no_execution():
    """The comment in the Rust code rests on what was seen."""
    seen = choose([assess(v4_machine(), "50")])
    capture = CAPTURES / "aida64-zen4-raphael.txt"
    read = choose([assess(read_capture(capture), "50")])

    assert "was executed on the machine" in FORMATS["rust"](seen)
    assert "SAFETY: claimed of the machine this is for; nothing was executed" in FORMATS["rust"](
        read
    )
    assert "was executed on" not in FORMATS["rust"](read)


def test_why_says_on_standard_error_why_each_flag_is_off(capfd):
    """Data stays alone on standard output."""
    code = run(
        [
            "flags",
            "--profile",
            "x86-64-v2",
            "--alone",
            "--wasmtime",
            "50",
            "--format",
            "json",
            "--why",
        ]
    )

    out, err = capfd.readouterr()
    assert code == 0
    flags = json.loads(out)
    assert {flag for flag, on in flags.items() if not on} >= BEYOND_V2
    said = dict(line.split(" is off: ") for line in err.splitlines())
    assert set(said) == {flag for flag, on in flags.items() if not on}
    assert said["has_avx2"] == "not in x86-64-v2"


def test_a_file_of_ones_own_is_a_profile(tmp_path, capfd):
    """A path stands for the one profile in it, by flags or by features."""
    mine = tmp_path / "mine.toml"
    mine.write_text(
        '[[profile]]\nname = "mine"\npurpose = "SIMD up to SSE4.1"\n'
        'flags = ["has_sse3", "has_ssse3", "has_sse41"]\n'
    )

    code = run(["flags", "--profile", str(mine), "--alone", "--wasmtime", "50", "--format", "json"])

    assert code == 0
    flags = json.loads(capfd.readouterr().out)
    assert {flag for flag, on in flags.items() if on} == {"has_sse3", "has_ssse3", "has_sse41"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--alone"], "--alone takes the flags from --profile"),
        (["--alone", "--profile", "x86-64-v2", "--from", "x"], "no capture beside it"),
        (["--profile", "x86-64-v33"], "did you mean x86-64-v3"),
        (["--profile", "x86-64-v2", "--alone", "--wasmtime", "0"], "known majors"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(arguments, said, capfd):
    assert run(["flags", *arguments]) == 2

    out, err = capfd.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


def test_an_unknown_group_is_refused_without_a_machine_too():
    with pytest.raises(UsageError, match="--without sse9"):
        choose_alone([find_profile("x86-64-v2")], lookup("50"), without=["sse9"])
