"""Fleets of several instruction sets: the same answer for each, of its own machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests import arm_fakes as arm
from tests.fleet.common import covered, cpuprobe, five, report, write_folder

from cpuprobe.evidence.share import pack
from cpuprobe.facts.profiles import built_in_profiles

LEVELS = {name: each.features for name, each in built_in_profiles("aarch64").items()}
V8_2 = sorted(LEVELS["armv8.2-a"])
V8_7 = sorted(LEVELS["armv8.7-a"])
V9_0 = sorted(LEVELS["armv9.0-a"])
CPUINFO = """\
processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm dcpop
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""


def machine(features: list[str], **more: Any) -> bytes:
    """A report of the probe on CPUs that execute these features."""
    return report(arm.observation(arm.group(features, **more)))


ARMS = {
    "arm-old.json": machine(list(arm.BASE)),
    "arm-87.json": machine(V8_7),
    "arm-90.json": machine(V9_0, midr=arm.NEOVERSE_V1),
}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Five machines of x86-64 and three of aarch64."""
    return write_folder(tmp_path / "mixed", {**five(), **ARMS})


def test_each_is_told_of_its_own_machines(capfdbinary, tmp_path, mixed):
    """The keys for x86-64 are those of the five alone; those of aarch64 have the same shape."""
    alone = cpuprobe(capfdbinary, "fleet", write_folder(tmp_path / "x", five()), "--json").json

    ran = cpuprobe(capfdbinary, "fleet", mixed, "--json").json

    others = ran.pop("isas")
    assert ran == alone
    assert list(others) == ["aarch64"]
    told = others["aarch64"]
    assert told.keys() - {"isa"} == alone.keys()
    assert told["total"] == {"machines": 3, "weight": 3.0, "share": 1.0}
    assert told["features"]["crc"]["machines"] == 3
    assert told["features"]["sve2"]["machines"] == 1
    assert covered(told["profiles"])["rhel-9-arm64"] == 3
    assert {each["value"] for each in told["models"]} == {"ARM Cortex-A72", "ARM Neoverse-V1"}
    assert [each["best"]["covered"]["machines"] for each in told["targets"]] == [3, 3, 3]


def test_levels_are_no_chain(capfdbinary, mixed):
    """Armv9.0 has Armv8.5 and no Armv8.6: a machine of it does not count among those of 8.7."""
    told = cpuprobe(capfdbinary, "fleet", mixed, "--json").json["isas"]["aarch64"]

    levels = covered(told["levels"])
    assert [levels[name] for name in ("armv8.0-a", "armv8.5-a", "armv8.6-a", "armv8.7-a")] == [
        *(3, 2, 1, 1)
    ]
    assert (levels["armv9.0-a"], levels["armv9.1-a"]) == (1, 0)


def test_the_shares_are_told(capfdbinary, tmp_path, mixed):
    """A line of both, then one after the other, the larger first; with weights by weight."""
    weights = tmp_path / "weights.csv"
    weights.write_text("".join(f"{name},10\n" for name in ARMS))

    text = cpuprobe(capfdbinary, "fleet", mixed).out.decode()
    weighed = cpuprobe(capfdbinary, "fleet", mixed, "--weights", weights).out.decode()

    assert text.startswith("x86-64 5 of 8 machines (62.5 %), aarch64 3 (37.5 %)\n")
    assert "\n5 machines: x86-64-v2 covers 100 %" in text
    assert "\n3 machines: armv8.1-a covers 66.7 %" in text
    assert text.index("\nx86-64: every share") < text.index("\naarch64: every share")
    assert "Not counted" not in text
    assert weighed.startswith("aarch64 3 of 8 machines (85.7 %), x86-64 5 (14.3 %)\n")


def test_all_that_can_be_assessed_is_counted(capfdbinary, tmp_path):
    """The probe's report, its share code, /proc/cpuinfo and lscpu, without any x86-64."""
    files = {
        "probe.json": machine(V8_2),
        "code.txt": pack(arm.observation(arm.group(V8_2))).encode(),
        "cpuinfo.txt": CPUINFO.encode(),
        "lscpu.txt": b"Architecture: aarch64\nVendor ID: ARM\nModel name: Cortex-A72\n"
        b"Flags: fp asimd evtstrm crc32\n",
        "part.txt": b"processor\t: 0\nFeatures\t: fp asimd evtstrm",
        "x.txt": b"nothing",
    }
    folder = write_folder(tmp_path / "x", files)

    text = cpuprobe(capfdbinary, "fleet", folder)
    ran = cpuprobe(capfdbinary, "fleet", folder, "--json")

    assert (text.code, ran.code) == (0, 0)
    told = ran.json["isas"]["aarch64"]
    assert covered(told["levels"])["armv8.2-a"] == 3
    assert (ran.json["total"]["machines"], ran.json["unread"]) == (0, 1)
    assert text.out.count(b"every share is of its machines") == 1
    assert b"may be too old to name young features: what" in text.out
    assert b"Not read, and counted nowhere above: 1 capture." in text.out


def test_a_core_is_called_by_its_part_number(capfdbinary, tmp_path):
    """Some kernels have a model name beside it that says nothing of the core."""
    words = CPUINFO.replace("Features", "model name\t: ARMv8 Processor rev 1 (v8l)\nFeatures")
    files = {"a.txt": CPUINFO.encode(), "b.txt": words.encode()}

    ran = cpuprobe(capfdbinary, "fleet", write_folder(tmp_path / "x", files), "--json")

    models = ran.json["isas"]["aarch64"]["models"]
    assert [(each["value"], each["machines"]["machines"]) for each in models] == [
        ("ARM Neoverse-N1", 2)
    ]


def test_flags_and_profiles_of_both(capfdbinary, tmp_path, mixed):
    """Each is counted where it belongs, and refused where there is no such machine."""
    asked = ("--flags", "has_lse", "--flags", "has_avx2", "--profile", "cortex-a55")
    five_alone = write_folder(tmp_path / "x", five())

    ran = cpuprobe(capfdbinary, "fleet", mixed, *asked, "--json").json
    text = cpuprobe(capfdbinary, "fleet", mixed, *asked).out
    flags = cpuprobe(capfdbinary, "fleet", five_alone, "--flags", "has_lse")
    profile = cpuprobe(capfdbinary, "fleet", five_alone, "--profile", "cortex-a55")
    both = cpuprobe(capfdbinary, "fleet", mixed, "--flags", "has_lse,has_avx2")

    assert covered(ran["flag_sets"]) == {"has_avx2": 3}
    assert covered(ran["isas"]["aarch64"]["flag_sets"]) == {"has_lse": 2}
    assert b"cortex-a55" in text
    assert (flags.code, profile.code, both.code) == (2, 2, 2)
    assert "--flags has_lse: wasmtime" in flags.err
    assert "the shares are of x86-64, it is of aarch64" in profile.err


def test_an_error_on_aarch64_is_an_error_of_the_fleet(capfdbinary, tmp_path):
    """Exit code 1 if any machine has one."""
    wrong = machine(V8_2, outcomes={"lse": "sigill"})

    ran = cpuprobe(capfdbinary, "fleet", write_folder(tmp_path / "x", {"a.json": wrong}), "--json")

    assert ran.code == 1
    assert ran.json["isas"]["aarch64"]["mismatched"]["machines"] == 1


def test_pages_and_tables_of_machines_are_of_x86_64(capfdbinary, tmp_path, mixed):
    """They say so, and name how many others there are; without x86-64 they are refused."""
    page = cpuprobe(capfdbinary, "fleet", mixed, "--html", "-")
    exported = cpuprobe(capfdbinary, "fleet", mixed, "--export", tmp_path / "t.tsv", "--json")
    alone = write_folder(tmp_path / "arm", ARMS)

    refused = [
        cpuprobe(capfdbinary, "fleet", alone, *option)
        for option in (("--html", "-"), ("--export", tmp_path / "no.tsv"))
    ]

    assert b"3 of another instruction set (aarch64 3)" in page.out
    assert "--export: the table is of x86-64: without those of aarch64" in exported.err
    assert "5 machines" in (tmp_path / "t.tsv").read_text()
    assert [each.code for each in refused] == [4, 4]
    assert not (tmp_path / "no.tsv").exists()
