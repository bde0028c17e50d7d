"""The tables of facts, and the strict rules they are compiled by."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.every import every
from tests.tools import tables
from tests.tools.feature_rows import check_features

from cpuprobe.facts import features
from cpuprobe.facts import tables as facts_tables
from cpuprobe.facts.features import CpuidBit, KernelFlag, X86Feature, X86Table
from cpuprobe.facts.tables import TableError, parse_toml

PROFILES = Path(__file__).parents[3] / "profiles"

ROWS = """feature = [
["one", "1.0 ecx 3", "legacy", "", "one 3.1", "the first", {}],
["two", "1.0 ecx 4", "vex", "one", "never", "the second", { gcc = "", iced = "" }],
]
"""
LEVELS = """
[[level]]
name = "v1"
features = ["one"]
purpose = "p"
gcc = "g"
archspec = "a"
"""


def checked(content: str = ROWS) -> tuple[X86Feature, ...]:
    return check_features(parse_toml(content.encode(), "features.toml"))


def test_small_table_loads() -> None:
    """A correct table gives its rows, with what is left out filled in."""
    one, two = checked()

    assert (one.name, two.name) == ("one", "two")
    assert one.cpuid == CpuidBit(1, 0, "ecx", 3)
    assert one.kernel == KernelFlag("one", "3.1")
    assert (one.gcc, one.llvm, one.rust, one.iced) == ("one", "one", "one", ("ONE",))
    assert one.source == "SDM vol. 2A, CPUID.01H:ECX[3]"
    assert (two.kernel.flag, two.gcc, two.iced, two.implies) == (None, None, (), ("one",))
    assert one.cranelift is None
    assert not one.hint


WRONG_ROWS = {
    "unknown key": ("{}", '{ colour = "red" }', "row 1 'one': unknown key 'colour'"),
    "missing column": (', "the first"', "", "row 1 'one': .*unpack"),
    "duplicate name": ('"two"', '"one"', "row 2 'one': .* used twice"),
    "duplicate bit": (
        "ecx 4",
        "ecx 3",
        r"'two': the CPUID bit CPUID.\(EAX=01H,ECX=0\):ECX\[bit 3\] already belongs to 'one'",
    ),
    "duplicate iced name": ('iced = ""', 'iced = "ONE"', "ONE already"),
    "duplicate flag": ("never", "one 3.1", "kernel flag one already belongs to 'one'"),
    "unknown implied": ('"vex", "one"', '"vex", "six"', "'two' implies .* 'six'"),
    "implied twice": ('"vex", "one"', '"vex", "one one"', "'two': implies .*twice"),
    "cycle": ('"legacy", ""', '"legacy", "two"', "implies itself: one -> two -> one"),
    "cycle of one": ('"legacy", ""', '"legacy", "one"', "one -> one"),
    "unknown encoding": ('"legacy"', '"vex128"', "'one': .*vex128"),
    "unknown register": ("ecx 3", "esi 3", "'one': .*esi"),
    "unknown gate": ("{}", '{ os = "smap" }', "'one': .*smap"),
    "bit too high": ("ecx 3", "ecx 32", "'one': '1.0 ecx 32' is no bit"),
    "bit negative": ("ecx 3", "ecx -1", "'one': '1.0 ecx -1' is no bit"),
    "leaf too big": ("1.0 ecx 3", "100000000.0 ecx 3", "'one': .* is no bit"),
    "bit is text": ("ecx 3", "ecx three", "'one': invalid literal"),
    "since is a word": ("3.1", "new", "since 'new' .*not a Linux release"),
    "since has one part": ("3.1", "3", "since '3' .*not a Linux release"),
    "since is missing": ("one 3.1", "one", "'one': zip"),
    "empty source": ("{}", '{ source = "" }', "'one': source is empty"),
    "padded name": ('["one"', '["one "', "name is empty or padded"),
    "another table": ("feature", "[more]\nx = 1\n[[feature]]", "unknown key 'more'"),
    "no rows": (ROWS, "# nothing", "no feature rows"),
    "not rows": (ROWS, "feature = 3", "no feature rows"),
    "rows of numbers": (ROWS, "feature = [3]", "row 1: not a row"),
    "not TOML": (ROWS, "[[feature]", "not TOML: "),
    "key twice": (ROWS, "feature = []\nfeature = []", "not TOML: "),
}


@pytest.mark.parametrize("case", WRONG_ROWS)
def test_wrong_table_is_refused_in_one_line(case: str) -> None:
    """Each broken rule raises TableError: one line that names the file and, within it, the row."""
    good, bad, message = WRONG_ROWS[case]
    content = bad if good == ROWS else ROWS.replace(good, bad, 1)
    if case == "another table":
        content = ROWS + "more = 1\n"

    with pytest.raises(TableError, match=message) as caught:
        checked(content)

    assert str(caught.value).startswith("features.toml: ")
    assert "\n" not in str(caught.value)


WRONG_LEVELS = {
    "unknown feature": (LEVELS.replace('["one"]', '["six"]'), "row 1 'v1': unknown feature 'six'"),
    "unknown key": (LEVELS + "x = 1\n", "'v1': a key is missing or not known"),
    "missing key": (LEVELS.replace('gcc = "g"', ""), "'v1': a key is missing or not known"),
    "extends what is not there": (LEVELS + 'extends = "v0"\n', "'v1': extends 'v0'"),
    "extends itself": (LEVELS + 'extends = "v1"\n', "'v1': extends 'v1'"),
    "name twice": (LEVELS + LEVELS, "row 2 'v1': .*used twice"),
    "inherited feature again": (
        LEVELS + LEVELS.replace('"v1"', '"v2"') + 'extends = "v1"\n',
        "'v2': names a feature twice",
    ),
}


@pytest.mark.parametrize("case", WRONG_LEVELS)
def test_wrong_levels_are_refused(case: str) -> None:
    """The table of levels is as strict as that of features."""
    content, message = WRONG_LEVELS[case]

    with pytest.raises(TableError, match=message) as caught:
        tables.check_levels(parse_toml(content.encode(), "levels.toml"), {"one"})

    assert str(caught.value).startswith("levels.toml: ")


def test_unreadable_toml_is_one_line() -> None:
    """Bytes that are no text and absurd nesting end in TableError."""
    for content, message in (
        (b'x = "\xe9"\n', "not UTF-8 at byte 5"),
        (b"x = " + b"[" * 20000 + b"]" * 20000, "nested too deeply"),
        (b"x = " + b"9" * 9999, "too large a number"),
    ):
        with pytest.raises(TableError, match=message) as caught:
            parse_toml(content, "f.toml")
        assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there() -> None:
    """`load_table` takes the name of a table, not a path."""
    with pytest.raises(TableError, match="not the name of a table"):
        facts_tables.load_table("../pyproject")


@pytest.mark.parametrize("content", [b"{", b"[]", None])
def test_damaged_tables_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    """A tables.json that is missing, no JSON or of another shape: what to do, in one line."""
    if content is not None:
        (tmp_path / "tables.json").write_bytes(content)
    monkeypatch.setattr(facts_tables, "tables_folder", lambda: str(tmp_path))
    facts_tables._tables.cache_clear()

    try:
        with pytest.raises(TableError, match=r"tables\.json: [^\n]*; reinstall cpuprobe"):
            facts_tables.read_table("quirks", dict)
    finally:
        facts_tables._tables.cache_clear()


@pytest.mark.parametrize("value", ["2023-08-08", "inf"])
def test_compile_refuses_what_json_cannot_hold(tmp_path: Path, value: str) -> None:
    """Dates would come back as text, infinities as null: neither may enter a table."""
    (tmp_path / "third.toml").write_text(f"x = {value}\n", encoding="utf-8")

    with pytest.raises(TableError, match=r"third\.toml: holds a value that JSON cannot"):
        tables.compiled(tmp_path)


def test_committed_tables_are_current() -> None:
    """profiles/tables.json is what `make gen` would write now."""
    assert (PROFILES / "tables.json").read_bytes() == tables.compiled(), "run: make gen"


def test_the_tables_are_those_of_the_toml_files() -> None:
    """Plain tables come back as they stand, and features in the order of their rows."""
    plain = {"quirks", "findings", "baseline", "wasmtime", "cpus"}

    for name in plain:
        content = (PROFILES / f"{name}.toml").read_bytes()
        assert facts_tables.load_table(name) == parse_toml(content, name)
    rows = parse_toml((PROFILES / "features.toml").read_bytes(), "features.toml")["feature"]
    assert [row[0] for row in rows] == list(features.load_features())


# --- the real table against literals from the manuals ---


@pytest.fixture(scope="module")
def table() -> X86Table:
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
    "hle": (7, 0, "ebx", 4),
    "shstk": (7, 0, "ecx", 7),
    "kl": (7, 0, "ecx", 23),
    "uintr": (7, 0, "edx", 5),
    "tsxldtrk": (7, 0, "edx", 16),
    "ibt": (7, 0, "edx", 20),
    "raoint": (7, 1, "eax", 3),
    "hreset": (7, 1, "eax", 22),
    "movrs": (7, 1, "eax", 31),
    "usermsr": (7, 1, "edx", 15),
    "ptwrite": (0x14, 0, "ebx", 4),
    "widekl": (0x19, 0, "ebx", 2),
    "amx-fp8": (0x1E, 1, "eax", 4),
    "amx-tf32": (0x1E, 1, "eax", 6),
    "amx-avx512": (0x1E, 1, "eax", 7),
    "amx-movrs": (0x1E, 1, "eax", 8),
    "mwaitx": (0x80000001, 0, "ecx", 29),
    "clzero": (0x80000008, 0, "ebx", 0),
    "rdpru": (0x80000008, 0, "ebx", 4),
    "sahf": (0x80000001, 0, "ecx", 0),
    "lzcnt": (0x80000001, 0, "ecx", 5),
    "xop": (0x80000001, 0, "ecx", 11),
    "rdtscp": (0x80000001, 0, "edx", 27),
    "3dnow": (0x80000001, 0, "edx", 31),
}


@every(BITS)
def test_bit_is_the_manuals(table: X86Table, name: str) -> None:
    """The CPUID bit of a row is the one the manual gives."""
    bit = table[name].cpuid

    assert (bit.leaf, bit.subleaf, bit.register, bit.bit) == BITS[name]


def test_xcr0_follows_from_the_encoding(table: X86Table) -> None:
    """The needed state: none, YMM, ZMM and masks, tiles, or the registers of APX."""
    masks = {name: table[name].xcr0 for name in ("aes", "bmi2", "f16c", "vaes", "avx512vnni")}

    assert masks == {"aes": 0, "bmi2": 0, "f16c": 0x6, "vaes": 0x6, "avx512vnni": 0xE6}
    assert table["amx-int8"].xcr0 == 0x60000
    assert table["apxf"].xcr0 == 0x80000


def test_evex_vex_and_amx_follow_from_implication(table: X86Table) -> None:
    """What implies a feature with state needs at least that state, so no gate can be forgotten."""
    for feature in table.values():
        for name in table.closure(feature.name):
            assert feature.xcr0 & table[name].xcr0 == table[name].xcr0, (feature.name, name)


def test_closure_is_transitive(table: X86Table) -> None:
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


def test_levels_are_the_psabi_table(table: X86Table) -> None:
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


def test_cranelift_names_are_those_of_wasmtime_50(table: X86Table) -> None:
    """Each x86 `has_*` setting of wasmtime 50 belongs to one row, and no row invents one."""
    expected = (
        "sse3 ssse3 sse41 sse42 popcnt cmpxchg16b avx avx2 fma avx_vnni bmi1 bmi2 lzcnt"
        " avx512f avx512vl avx512dq avx512vbmi avx512bitalg avx512vnni apx"
    )

    assert set(table.by_cranelift) == {f"has_{name}" for name in expected.split()}
    assert table.by_cranelift["has_cmpxchg16b"].name == "cx16"
    assert table.by_cranelift["has_bmi1"].name == "bmi"


def test_kernel_names_that_differ(table: X86Table) -> None:
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


def test_groups(table: X86Table) -> None:
    """Taking away a group and what depends on it leaves nothing of its encoding behind."""
    avx512 = set(table.group("avx512"))

    assert {name for name in table if name.startswith("avx512")} == avx512
    assert set(table.group("amx")) == {name for name in table if name.startswith("amx-")}
    assert table.group("avx10") == ("avx10.1", "avx10.2")
    with pytest.raises(KeyError):
        table.group("avx1024")


def test_os_gates(table: X86Table) -> None:
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
