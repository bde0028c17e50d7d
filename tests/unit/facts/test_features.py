"""The feature table and its strict loader."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cpuprobe.facts import features
from cpuprobe.facts.features import CpuidBit, FeatureTable, KernelFlag, TableError

ROOT = Path(__file__).parents[3]
PROFILES = ROOT / "profiles"

ROW = """
[[feature]]
name = "one"
title = "the first"
cpuid = { leaf = 1, subleaf = 0, register = "ecx", bit = 3 }
encoding = "legacy"
implies = []
kernel = { flag = "one", since = "3.1" }
iced = ["ONE"]
source = "a manual"
"""
OTHER = """
[[feature]]
name = "two"
title = "the second"
cpuid = { leaf = 1, subleaf = 0, register = "ecx", bit = 4 }
encoding = "vex"
implies = ["one"]
kernel = { never = true }
iced = []
source = "a manual"
"""
LEVELS = '[[level]]\nname = "v1"\nfeatures = ["one"]\n'

Folder = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A function that lays out a folder of tables and returns its path."""

    def lay_out(content: str = ROW + OTHER, levels: str = LEVELS) -> str:
        (tmp_path / "features.toml").write_text(content, encoding="utf-8")
        (tmp_path / "levels.toml").write_text(levels, encoding="utf-8")
        features._features_of.cache_clear()
        features._levels_of.cache_clear()
        features._compiled_tables.cache_clear()
        return str(tmp_path)

    return lay_out


def test_small_table_loads(folder: Folder) -> None:
    """A correct table gives its rows, with what is left out filled in."""
    table = features._features_of(folder())

    assert list(table) == ["one", "two"]
    assert table["one"].cpuid == CpuidBit(1, 0, "ecx", 3)
    assert table["one"].kernel == KernelFlag("one", "3.1")
    assert table["two"].kernel.flag is None
    assert table["two"].implies == ("one",)
    assert table["one"].cranelift is None
    assert not table["one"].hint


WRONG_ROWS = {
    "unknown key": (ROW + 'colour = "red"\n', "row 1 'one': .*unknown field `colour`"),
    "missing key": (ROW.replace('title = "the first"\n', ""), "'one': .*missing .*`title`"),
    "unknown key in cpuid": (ROW.replace("bit = 3 }", "bit = 3, x = 1 }"), "'one': .*`x`"),
    "duplicate name": (ROW + OTHER.replace('"two"', '"one"'), "row 2 'one': .* used twice"),
    "duplicate bit": (
        ROW + OTHER.replace("bit = 4", "bit = 3"),
        r"'two': the CPUID bit CPUID.\(EAX=01H,ECX=0\):ECX\[bit 3\] already belongs to 'one'",
    ),
    "duplicate iced name": (ROW + OTHER.replace("iced = []", 'iced = ["ONE"]'), "ONE already"),
    "duplicate flag": (
        ROW + OTHER.replace("never = true", 'flag = "one", since = "3.1"'),
        "kernel flag one already belongs to 'one'",
    ),
    "unknown implied": (ROW + OTHER.replace('["one"]', '["six"]'), "'two': implies .* 'six'"),
    "implied twice": (ROW + OTHER.replace('["one"]', '["one", "one"]'), "'two': implies .*twice"),
    "cycle": (
        ROW.replace("implies = []", 'implies = ["two"]') + OTHER,
        "implies itself: one -> two -> one",
    ),
    "cycle of one": (ROW.replace("implies = []", 'implies = ["one"]'), "one -> one"),
    "unknown encoding": (ROW.replace('"legacy"', '"vex128"'), "'one': .*vex128"),
    "unknown register": (ROW.replace('"ecx"', '"esi"'), "'one': .*esi"),
    "unknown gate": (ROW + 'os = "smap"\n', "'one': .*smap"),
    "bit too high": (ROW.replace("bit = 3", "bit = 32"), "'one': bit 32 is not within 0..31"),
    "bit negative": (ROW.replace("bit = 3", "bit = -1"), "'one': bit -1 is not within 0..31"),
    "leaf too big": (ROW.replace("leaf = 1,", "leaf = 0x100000000,"), "'one': leaf .* 32 bits"),
    "bit is text": (ROW.replace("bit = 3", 'bit = "3"'), "'one': Expected `int`"),
    "bit is a truth value": (ROW.replace("bit = 3", "bit = true"), "'one': Expected `int`"),
    "since is a word": (ROW.replace('"3.1"', '"new"'), "since 'new' .*not a Linux release"),
    "since has one part": (ROW.replace('"3.1"', '"3"'), "since '3' .*not a Linux release"),
    "since is missing": (ROW.replace(', since = "3.1"', ""), "'one': kernel needs flag and since"),
    "flag and never": (ROW.replace('since = "3.1"', 'since = "3.1", never = true'), "both never"),
    "kernel is empty": (ROW.replace('flag = "one", since = "3.1"', ""), "kernel needs flag"),
    "empty source": (ROW.replace('"a manual"', '""'), "'one': source is empty"),
    "padded name": (ROW.replace('name = "one"', 'name = "one "'), "name is empty or padded"),
    "another table": (ROW + "[more]\nx = 1\n", "unknown key 'more'"),
    "no rows": ("# nothing\n", r"no \[\[feature\]\] rows"),
    "not rows": ("feature = 3\n", r"no \[\[feature\]\] rows"),
    "rows of numbers": ("feature = [3]\n", "row 1: not a table"),
    "not TOML": ("[[feature]\n", "not TOML: "),
    "key twice": (ROW + 'name = "again"\n', "not TOML: "),
}


@pytest.mark.parametrize("case", WRONG_ROWS)
def test_wrong_table_is_refused_in_one_line(folder: Folder, case: str) -> None:
    """Each broken rule raises TableError: one line that names the file and, within it, the row."""
    content, message = WRONG_ROWS[case]

    with pytest.raises(TableError, match=message) as caught:
        features._features_of(folder(content))

    assert str(caught.value).startswith("features.toml: ")
    assert "\n" not in str(caught.value)


WRONG_LEVELS = {
    "unknown feature": (LEVELS.replace("one", "six"), "row 1 'v1': unknown feature 'six'"),
    "unknown key": (LEVELS + "x = 1\n", "'v1': .*`x`"),
    "extends what is not there": (LEVELS + 'extends = "v0"\n', "'v1': extends 'v0'"),
    "extends itself": (LEVELS + 'extends = "v1"\n', "'v1': extends 'v1'"),
    "name twice": (LEVELS + LEVELS, "row 2 'v1': .*used twice"),
    "inherited feature again": (
        LEVELS + '[[level]]\nname = "v2"\nextends = "v1"\nfeatures = ["one"]\n',
        "'v2': names a feature twice",
    ),
}


@pytest.mark.parametrize("case", WRONG_LEVELS)
def test_wrong_levels_are_refused(folder: Folder, case: str) -> None:
    """The table of levels is as strict as that of features."""
    content, message = WRONG_LEVELS[case]

    with pytest.raises(TableError, match=message) as caught:
        features._levels_of(folder(levels=content))

    assert str(caught.value).startswith("levels.toml: ")


def test_unreadable_files_are_one_line(tmp_path: Path) -> None:
    """A missing file, bytes that are no text and absurd nesting all end in TableError."""
    (tmp_path / "latin.toml").write_bytes(b'x = "\xe9"\n')
    (tmp_path / "deep.toml").write_text("x = " + "[" * 20000 + "]" * 20000, encoding="utf-8")

    for name, message in (
        ("none.toml", "No such file"),
        ("latin.toml", "not UTF-8 at byte 5"),
        ("deep.toml", "nested too deeply"),
    ):
        with pytest.raises(TableError, match=message) as caught:
            features.read_toml(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_table_name_cannot_leave_the_folder() -> None:
    """`load_table` takes the name of a table, not a path."""
    with pytest.raises(TableError, match="not the name of a table"):
        features.load_table("../pyproject")


# --- the compiled form ---


def test_compiled_tables_serve_while_the_digest_matches(folder: Folder) -> None:
    """A matching digest is trusted; after an edit of the TOML the edit is seen."""
    place = folder()
    compiled = features.compile_tables(place).replace(b"the first", b"from JSON")
    (Path(place) / "tables.json").write_bytes(compiled)

    assert features._features_of(place)["one"].title == "from JSON"

    again = folder(ROW.replace("the first", "edited") + OTHER)
    assert features._features_of(again)["one"].title == "edited"


def test_damaged_compiled_tables_are_passed_over(folder: Folder) -> None:
    """A tables.json that is no JSON, or of another shape, leaves the TOML in charge."""
    place = folder()
    for content in (b"{", b"[]", b'{"features.toml": {"sha256": 1}}'):
        (Path(place) / "tables.json").write_bytes(content)
        folder()

        assert features._features_of(place)["one"].title == "the first"


def test_compile_refuses_what_json_cannot_hold(folder: Folder) -> None:
    """Dates would come back as text, infinities as null: neither may enter a table."""
    place = folder()
    for value in ("2023-08-08", "inf"):
        (Path(place) / "third.toml").write_text(f"x = {value}\n", encoding="utf-8")

        with pytest.raises(TableError, match=r"third\.toml: holds a value that JSON cannot"):
            features.compile_tables(place)


def test_compile_checks_the_tables(folder: Folder) -> None:
    """Nothing invalid can be compiled, so what was compiled needs no second check."""
    with pytest.raises(TableError, match="bit 32"):
        features.compile_tables(folder(ROW.replace("bit = 3", "bit = 32")))


def test_committed_tables_are_current() -> None:
    """profiles/tables.json is what `make gen` would write now."""
    committed = (PROFILES / "tables.json").read_bytes()

    assert committed == features.compile_tables(str(PROFILES)), (
        "run: python -m cpuprobe.facts.features --compile"
    )


def test_compiled_and_parsed_tables_agree(tmp_path: Path) -> None:
    """Both ways of reading the real tables give the same rows, in the same order."""
    parsed = features._check_features(
        features.read_toml(PROFILES / "features.toml"), "features.toml"
    )

    assert tuple(features.load_features().values()) == parsed


def test_usage_error_exits_2() -> None:
    """The module run with anything but --compile says how to use it."""
    done = subprocess.run(
        [sys.executable, "-m", "cpuprobe.facts.features"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "probe")},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert done.stderr == "usage: python -m cpuprobe.facts.features --compile\n"


# --- the real table against literals from the manuals ---


@pytest.fixture(scope="module")
def table() -> FeatureTable:
    """The feature table of this checkout."""
    return features.load_features()


# SDM vol. 2A, CPUID; the last five from APM vol. 3, appendix E.
BITS = {
    "x87": (1, 0, "edx", 0),
    "cx8": (1, 0, "edx", 8),
    "cmov": (1, 0, "edx", 15),
    "fxsr": (1, 0, "edx", 24),
    "sse2": (1, 0, "edx", 26),
    "sse3": (1, 0, "ecx", 0),
    "pclmul": (1, 0, "ecx", 1),
    "ssse3": (1, 0, "ecx", 9),
    "fma": (1, 0, "ecx", 12),
    "cx16": (1, 0, "ecx", 13),
    "sse4.1": (1, 0, "ecx", 19),
    "sse4.2": (1, 0, "ecx", 20),
    "movbe": (1, 0, "ecx", 22),
    "popcnt": (1, 0, "ecx", 23),
    "aes": (1, 0, "ecx", 25),
    "xsave": (1, 0, "ecx", 26),
    "avx": (1, 0, "ecx", 28),
    "f16c": (1, 0, "ecx", 29),
    "rdrnd": (1, 0, "ecx", 30),
    "bmi": (7, 0, "ebx", 3),
    "avx2": (7, 0, "ebx", 5),
    "bmi2": (7, 0, "ebx", 8),
    "avx512f": (7, 0, "ebx", 16),
    "adx": (7, 0, "ebx", 19),
    "sha": (7, 0, "ebx", 29),
    "avx512vl": (7, 0, "ebx", 31),
    "gfni": (7, 0, "ecx", 8),
    "vaes": (7, 0, "ecx", 9),
    "vpclmulqdq": (7, 0, "ecx", 10),
    "avx512vnni": (7, 0, "ecx", 11),
    "avx512bitalg": (7, 0, "ecx", 12),
    "avx5124fmaps": (7, 0, "edx", 3),
    "avx512vp2intersect": (7, 0, "edx", 8),
    "serialize": (7, 0, "edx", 14),
    "amx-bf16": (7, 0, "edx", 22),
    "avx512fp16": (7, 0, "edx", 23),
    "amx-tile": (7, 0, "edx", 24),
    "amx-int8": (7, 0, "edx", 25),
    "sha512": (7, 1, "eax", 0),
    "sm3": (7, 1, "eax", 1),
    "sm4": (7, 1, "eax", 2),
    "avxvnni": (7, 1, "eax", 4),
    "avx512bf16": (7, 1, "eax", 5),
    "cmpccxadd": (7, 1, "eax", 7),
    "amx-fp16": (7, 1, "eax", 21),
    "avxifma": (7, 1, "eax", 23),
    "avxvnniint8": (7, 1, "edx", 4),
    "avxneconvert": (7, 1, "edx", 5),
    "amx-complex": (7, 1, "edx", 8),
    "avxvnniint16": (7, 1, "edx", 10),
    "avx10.1": (7, 1, "edx", 19),
    "apxf": (7, 1, "edx", 21),
    "xsaveopt": (0xD, 1, "eax", 0),
    "xsavec": (0xD, 1, "eax", 1),
    "xsaves": (0xD, 1, "eax", 3),
    "sahf": (0x80000001, 0, "ecx", 0),
    "lzcnt": (0x80000001, 0, "ecx", 5),
    "xop": (0x80000001, 0, "ecx", 11),
    "rdtscp": (0x80000001, 0, "edx", 27),
    "3dnow": (0x80000001, 0, "edx", 31),
}


@pytest.mark.parametrize("name", BITS)
def test_bit_is_the_manuals(table: FeatureTable, name: str) -> None:
    """The CPUID bit of a row is the one the manual gives."""
    bit = table[name].cpuid

    assert (bit.leaf, bit.subleaf, bit.register, bit.bit) == BITS[name]


def test_xcr0_follows_from_the_encoding(table: FeatureTable) -> None:
    """The needed state: none, YMM, ZMM and masks, tiles, or the registers of APX."""
    masks = {name: table[name].xcr0 for name in ("aes", "bmi2", "f16c", "vaes", "avx512vnni")}

    assert masks == {"aes": 0, "bmi2": 0, "f16c": 0x6, "vaes": 0x6, "avx512vnni": 0xE6}
    assert table["amx-int8"].xcr0 == 0x60000
    assert table["apxf"].xcr0 == 0x80000


def test_evex_vex_and_amx_follow_from_implication(table: FeatureTable) -> None:
    """What implies a feature with state needs at least that state, so no gate can be forgotten."""
    for feature in table.values():
        for name in table.closure(feature.name):
            assert feature.xcr0 & table[name].xcr0 == table[name].xcr0, (feature.name, name)


def test_closure_is_transitive(table: FeatureTable) -> None:
    """Closures are complete, never hold the feature itself, and agree with `dependents`."""
    avx = {"sse", "sse2", "sse3", "ssse3", "sse4.1", "sse4.2"}
    assert table.closure("avx") == avx
    assert table.closure("avx512vbmi") == avx | {
        "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw"
    }  # fmt: skip
    assert table.closure("vaes") == avx | {"avx", "aes"}
    assert table.closure("popcnt") == frozenset()
    for name in table:
        assert name not in table.closure(name)
        for implied in table.closure(name):
            assert table.closure(implied) <= table.closure(name)
            assert name in table.dependents(implied)
    with pytest.raises(KeyError):
        table.dependents("avx3")


def test_levels_are_the_psabi_table(table: FeatureTable) -> None:
    """Levels hold the psABI's names mapped to ours, cumulatively, and are closed under implies."""
    v1 = {"cmov", "cx8", "x87", "fxsr", "mmx", "syscall", "sse", "sse2"}
    v2 = v1 | {"cx16", "sahf", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3"}
    v3 = v2 | {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"}
    v4 = v3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    levels = features.load_levels()

    assert [level.name for level in levels] == [f"x86-64-v{number}" for number in (1, 2, 3, 4)]
    assert [set(level.features) for level in levels] == [v1, v2, v3, v4]
    for level in levels:
        for name in level.features:
            assert table.closure(name) <= set(level.features), name


def test_cranelift_names_are_those_of_wasmtime_50(table: FeatureTable) -> None:
    """Each x86 `has_*` setting of wasmtime 50 belongs to one row, and no row invents one."""
    expected = (
        "sse3 ssse3 sse41 sse42 popcnt cmpxchg16b avx avx2 fma avx_vnni bmi1 bmi2 lzcnt"
        " avx512f avx512vl avx512dq avx512vbmi avx512bitalg avx512vnni apx"
    )

    assert set(table.by_cranelift) == {f"has_{name}" for name in expected.split()}
    assert table.by_cranelift["has_cmpxchg16b"].name == "cx16"
    assert table.by_cranelift["has_bmi1"].name == "bmi"


def test_kernel_names_that_differ(table: FeatureTable) -> None:
    """Linux's own names lead to the right rows (arch/x86/include/asm/cpufeatures.h)."""
    names = {
        "fpu": "x87",
        "pni": "sse3",
        "cx16": "cx16",
        "lahf_lm": "sahf",
        "abm": "lzcnt",
        "bmi1": "bmi",
        "pclmulqdq": "pclmul",
        "rdrand": "rdrnd",
        "sha_ni": "sha",
        "3dnowprefetch": "prfchw",
        "avx_vnni": "avxvnni",
        "avx512ifma": "avx512ifma",
        "avx512vbmi": "avx512vbmi",
        "avx512_vbmi2": "avx512vbmi2",
        "avx512_vnni": "avx512vnni",
        "avx512_bitalg": "avx512bitalg",
        "avx512_vpopcntdq": "avx512vpopcntdq",
        "avx512_bf16": "avx512bf16",
        "avx512_fp16": "avx512fp16",
        "amx_tile": "amx-tile",
    }

    assert {flag: table.by_kernel_flag[flag].name for flag in names} == names


def test_groups(table: FeatureTable) -> None:
    """Taking away a group and what depends on it leaves nothing of its encoding behind."""
    avx512 = set(table.group("avx512"))

    assert {name for name in table if name.startswith("avx512")} == avx512
    assert set(table.group("amx")) == {name for name in table if name.startswith("amx-")}
    assert table.group("avx10") == ("avx10.1",)
    with pytest.raises(KeyError):
        table.group("avx1024")


def test_os_gates(table: FeatureTable) -> None:
    """Exactly these features are gated by the system other than through XCR0."""
    gates = {name: feature.os for name, feature in table.items() if feature.os is not None}

    assert gates == {
        "xsave": "osxsave",
        "xsaveopt": "osxsave",
        "xsavec": "osxsave",
        "xsaves": "osxsave",
        "fsgsbase": "fsgsbase",
        "pku": "ospke",
    }
