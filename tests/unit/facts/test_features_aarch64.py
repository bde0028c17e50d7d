"""The feature table of aarch64: its rules, and sources that know nothing of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.required import required, unable
from tests.tools.feature_rows import check_arm_features
from tests.unit.facts.test_features_sources import run

from cpuprobe.assessment.kernel import release_number
from cpuprobe.errors import CaptureError, UsageError
from cpuprobe.facts.aarch64 import HwcapBit, IdField, load_features
from cpuprobe.facts.arm_cpus import core_of, name_of
from cpuprobe.facts.lint import problems
from cpuprobe.facts.profiles import built_in_profiles, find_profile
from cpuprobe.facts.tables import TableError, load_table, parse_toml

TABLE = load_features()
ROW = '["one", "isar0 7:4>=1", "hwcap 3", "a64", "", "one 3.14", "the first", {}]'

# What the libc headers of the Debian cross compiler say: those of Linux 6.1.
HEADER = Path("/usr/aarch64-linux-gnu/include/asm/hwcap.h")
# Words of the kernel that are no features: a timer's events, and leave to read the ID registers.
NO_FEATURES = {"evtstrm", "cpuid"}


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("7:4>=1", "4:7>=1", "no field of 64 bits"),
        ("7:4>=1", "7:4>=16", "no field of 64 bits"),
        ("isar0 7:4>=1", "eax 3", "no field of an ID register"),
        ("hwcap 3", "hwcap 64", "no bit of 64"),
        ("hwcap 3", "hwcap4 3", "hwcap4"),
        ('"a64"', '"vex"', "vex"),
        ("{}", '{ iced = "ONE" }', "unknown key 'iced'"),
        ('"one 3.14"', '"one then"', "not a Linux release"),
    ],
)
def test_wrong_row_is_refused(old: str, new: str, error: str) -> None:
    """A row that breaks a rule is one line with the file and the row."""
    with pytest.raises(TableError, match=f"^features-aarch64.toml: .*row 1 'one': .*{error}"):
        check_arm_features(parse_toml(f"feature = [{ROW.replace(old, new)}]".encode(), "x"))


def test_bit_belongs_to_one_feature() -> None:
    """Neither a bit of HWCAP nor a field and value may stand in two rows."""
    two = ROW.replace('"one', '"two')
    with pytest.raises(TableError, match="already belongs to 'one'"):
        check_arm_features(parse_toml(f"feature = [{ROW}, {two}]".encode(), "x"))


def test_hwcap_bits_are_the_headers() -> None:
    """Every HWCAP of the kernel's own header is the bit of the row whose word it is."""
    if not HEADER.exists():
        unable("linux-libc-dev-arm64-cross is not installed")
    defined = re.findall(r"define HWCAP(2?)_(\w+)\s+\(1(?:UL)? << (\d+)\)", HEADER.read_text())
    bits = {
        (name.lower().replace("_", ""), f"hwcap{word}", int(bit)) for word, name, bit in defined
    }
    ours = {
        (each.kernel.flag, each.hwcap.word, each.hwcap.bit)
        for each in TABLE.values()
        if each.hwcap is not None
    }

    assert len(bits) > 60
    assert {each for each in bits if each[0] not in NO_FEATURES} - ours == set()


def test_field_is_signed_where_the_manual_says_so() -> None:
    """0b1111 in ID_AA64PFR0_EL1.FP is no floating point, 0 is all but half precision."""
    registers = {"id_aa64pfr0_el1": 0xF << 16 | 0x1 << 20}

    assert TABLE["fp-armv8"].told_by(registers) is False
    assert TABLE["fp-armv8"].told_by({"id_aa64pfr0_el1": 0}) is True
    assert TABLE["fullfp16"].told_by({"id_aa64pfr0_el1": 0}) is False
    assert TABLE["asimdhp"].told_by(registers) is True


def test_alternatives_are_any_of_them() -> None:
    """QARMA5, an algorithm of the maker's and QARMA3 are all pointer authentication."""
    pauth = TABLE["pauth"]

    assert pauth.told_by({"id_aa64isar1_el1": 0}) is False
    assert pauth.told_by({"id_aa64isar1_el1": 1 << 8}) is True
    assert pauth.told_by({"id_aa64isar1_el1": 0, "id_aa64isar2_el1": 1 << 12}) is True
    assert pauth.told_by({"id_aa64isar0_el1": 0xFFFF}) is None


def test_notation() -> None:
    """A field and a bit are written as the manuals write them."""
    assert str(IdField("id_aa64isar0_el1", 20, 4, 2)) == "ID_AA64ISAR0_EL1[23:20] >= 2"
    assert str(HwcapBit("hwcap2", 1)) == "AT_HWCAP2 bit 1"


def test_llvm_knows_the_names() -> None:
    """LLVM 14 knows every name of a feature that Linux printed before it."""
    llc = required("llc")
    known = set(
        re.findall(r"^  ([\w.-]+) +- ", run(llc, "-march=aarch64", "-mattr=help").stderr, re.M)
    )
    ours = {each.llvm for each in TABLE.values() if each.llvm is not None}
    # LLVM 14 is older than Linux 5.19.
    old = {name for name in ours if (release_number(TABLE[name].kernel.since) or (9,)) < (5, 19)}

    assert len(old) == 40
    assert old - known == set()


def test_implied_features_lie_in_state_that_is_there() -> None:
    """Nothing outside SVE and SME builds on them, and no SVE on SME."""
    rank = {"a64": 0, "pauth": 0, "hint": 0, "sve": 1, "sme": 2}
    for feature in TABLE.values():
        for name in TABLE.closure(feature.name):
            assert rank[TABLE[name].encoding] <= rank[feature.encoding], (feature.name, name)


ARM = built_in_profiles("aarch64")


@pytest.mark.parametrize("name", ARM)
def test_profile_holds_what_its_features_build_on(name: str) -> None:
    """A core that has a feature has all that it implies."""
    for feature in ARM[name].features:
        assert TABLE.closure(feature) <= ARM[name].features, feature


def test_no_profile_of_one_set_has_the_name_of_another() -> None:
    """Profiles are found by name alone."""
    assert built_in_profiles().keys().isdisjoint(ARM)
    assert find_profile("graviton3").isa == "aarch64"


def test_a_core_is_found_by_its_own_name() -> None:
    """A row is of several cores; what one of them is called names the row, and no other."""
    names = [name for each in ARM.values() for name in (each.name, *each.also)]

    assert len(names) == len(set(names)) > 70
    assert find_profile("neoverse-n2").name == "cortex-a510"
    assert find_profile("cortex-a72").features == ARM["cortex-a53"].features
    with pytest.raises(UsageError, match="did you mean neoverse-n1"):
        find_profile("neoverse_n1")


def test_part_numbers_are_of_known_cores() -> None:
    """Each is of one row, has a name for people, and a row of its own features."""
    parts = [each for row in load_table("cpus-aarch64")["profile"] for each in row.get("midr", ())]

    assert len(parts) == len(set(parts)) > 60
    for each in parts:
        implementer, part = (int(number, 16) for number in each.split("/"))
        core = core_of((implementer, part))
        assert core is not None
        assert name_of((implementer, part)), each
        assert core.features == ARM[core.name].features


def test_profiles_of_two_instruction_sets_do_not_mix(tmp_path: Path) -> None:
    """A row of the user's is of the set that it extends."""
    file = tmp_path / "own.toml"
    row = '[[profile]]\nname = "mine"\npurpose = "x"\nextends = [{}]\n'
    file.write_text(row.format('"graviton2", "haswell"'))
    with pytest.raises(CaptureError, match="different instruction sets"):
        find_profile(str(file))
    file.write_text(row.format('"graviton2"') + 'features = ["sve"]\n')

    own = find_profile(str(file))
    assert own.isa == "aarch64"
    assert [problem.text for problem in problems(own)] == ["has sve without complxnum"]
