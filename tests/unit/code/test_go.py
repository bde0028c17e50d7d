"""Go's table of functions: as four releases write it, and damaged."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pytest
from tests.elf_files import HEADER, go_program, go_table

pytest.importorskip("iced_x86")

from tests.needs import parse_needs

from cpuprobe.code import go, go_reach, native_functions, plain_functions
from cpuprobe.code.functions import ROW, FunctionTable, Range, packed
from cpuprobe.code.program import asking_names

MAGICS = [0xFFFFFFFB, 0xFFFFFFFA, 0xFFFFFFF0, 0xFFFFFFF1]
NAMES = [b"main.main", b"x.sum_avx2", b"x.init"]


CODE = [(0x400000, 0x401030), (0x401030, 0x500000)]


def read(content: bytes, text: int = 0) -> list[tuple[int, int, str]] | None:
    """The functions, as both makers of tables read them."""
    table = go.read_table(content, text)
    if table is None:
        return None
    found = [make.go(table, 3, CODE) for make in (native_functions, plain_functions)]
    if found[0] is None or found[1] is None:
        assert found == [None, None]
        return None
    rows, other = (bytes(each[0]) for each in found if each)
    assert rows == other and found[0][1] == found[1][1]

    def name(place: int) -> str:
        return content[place : content.find(b"\0", place)].decode("latin-1")

    return [
        (start, end, name(place))
        for start, end, place, number, which, source, _ in ROW.iter_unpack(rows)
        if (number, which, source) == (3, start >= CODE[1][0], 1)
    ]


@pytest.mark.parametrize("magic", MAGICS)
def test_functions(magic):
    assert read(go_table([0, 16, 48, 64], NAMES, magic, 0x401000)) == [
        (0x401000, 0x401010, "main.main"),
        (0x401010, 0x401030, "x.sum_avx2"),
        (0x401030, 0x401040, "x.init"),
    ]


def test_where_the_table_does_not_say_what_it_counts_from():
    """Go 1.26 leaves it to what describes the module."""
    table = go_table([0, 16, 32], NAMES[:2], 0xFFFFFFF1)

    assert read(table, 0x401000) == [
        (0x401000, 0x401010, "main.main"),
        (0x401010, 0x401020, "x.sum_avx2"),
    ]
    assert read(table) is None


@pytest.mark.parametrize("magic", MAGICS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table[:70],
        lambda table: b"\xf2" + table[1:],
        lambda table: table[:4] + b"\1" + table[5:],
        lambda table: table[:8] + struct.pack("<Q", 1 << 62) + table[16:],
        lambda table: table[:8] + bytes(8) + table[16:],
    ],
)
def test_damaged_tables_are_none(damage, magic):
    assert read(damage(go_table([0, 16, 48, 64], NAMES, magic, 0x401000))) is None


@pytest.mark.parametrize("at", range(8, 72, 8))
def test_a_table_whose_words_lead_anywhere(at):
    """Nothing of it is out of bounds: it has no names, or is none."""
    table = go_table([0, 16, 48, 64], NAMES, 0xFFFFFFF1, 0x401000)

    for word in (b"\xff" * 8, struct.pack("<Q", len(table) - 1), struct.pack("<Q", 1 << 63)):
        found = read(table[:at] + word + table[at + 8 :])

        assert found is None or len(found) <= 3


def test_functions_out_of_order_are_none():
    assert read(go_table([0, 48, 16, 64], NAMES, 0xFFFFFFF1, 0x401000)) is None


def test_a_stripped_program_has_the_names_of_its_functions():
    """`main.main` calls the one that holds AVX2; no symbol, no unwind entry tells of them."""
    call = b"\xe8" + struct.pack("<i", 16 - 5) + b"\xc3"
    code = call.ljust(16, b"\xcc") + b"\xc5\xfd\xfe\xc0\xc3".ljust(16, b"\xcc")
    needs = parse_needs(go_program(code, [0, 16], NAMES[:2]))
    (place,) = needs.features["avx2"].places

    assert (place.name, place.confidence) == ("x.sum_avx2", "symbol")
    assert (needs.reached["avx2"].by, needs.reached["avx2"].name) == ("run", "main.main")
    assert needs.reached["avx2"].address == HEADER + 16


@pytest.mark.parametrize(
    ("name", "asks"),
    [
        ("_rt0_amd64_linux", False),
        ("runtime.memmove", False),
        ("internal/runtime/maps.MemHash32", False),
        ("runtime.alginit", True),
        ("internal/runtime/maps.AlgInit", True),  # what that became in Go 1.27
        ("runtime.cpuinit", True),
        ("runtime.schedinit", True),  # which has it in it since Go 1.24
        ("main.main", True),
    ],
)
def test_what_of_the_runtime_asks_for_others(name, asks):
    """All else of it is executed at the start or all the time, and chooses by what these found."""
    assert (go_reach._RUNTIME.match(name) is None) == asks


def test_whose_names_have_words():
    """Of a name no more than of any is read, and none of it behind the table."""
    names = [b"x.Init", b"y.HasAVX2.func1", b"z" * 400 + b"cpu", b"cPu_iinit", b"a.in", b"", b"ini"]
    strings = b"\0".join(names)
    places = [len(b"\0".join([*names[:at], b""])) for at in range(len(names))]
    rows = [
        packed(Range(16 * at, 0, (5, place), "symbol", False), 0) for at, place in enumerate(places)
    ]
    rows.append(packed(Range(0x1000, 0, (4, 0), "symbol", False), 0))  # of another table
    rows.append(packed(Range(0x1010, 0, (5, len(strings) + 9), "symbol", False), 0))
    found = native_functions.named(FunctionTable(b"".join(rows)), strings, 5, b"init\0avx\0cpu\0")

    assert dict(zip(found.keys, found.values, strict=True)) == {0: 1, 16: 2, 48: 5}


def test_what_asks_and_what_sets_has_the_words_that_are_sought_first():
    """Patterns are tried on names with such words alone."""
    asking = """internal/cpu.cpuid x.GetCPUInfo x.cpu_has_feature a/cpufeature.F x.HasAVX512
        x.hasSSE41 x.has_sse2 x.SupportedTargets x.ChosenTarget x.DetectTarget x.CpuID
        OPENSSL_ia32cap_P std_detect::x __cpu_model orc_target_get_default_flags"""
    setting = "runtime.alginit x.init.0 x.(*T).InitAll x.glob..func1 internal/cpu.doinit x/mycpu.F"

    def words(name: str) -> int:
        found = (word.decode() in name.lower() for word in go_reach._WORDS)
        return go_reach._told(sum(1 << at for at, has in enumerate(found) if has))

    for name in asking.split():
        assert asking_names().search(name) and words(name) & go_reach._ASKS, name
    for name in setting.split():
        assert go_reach._SETTING.match(name) and words(name) & go_reach._SETS, name
    assert sum(map(len, go_reach._WORDS)) <= 64


def test_a_function_value_behind_a_table_of_methods():
    """Go 1.27 puts values of functions right behind the last table, and none is its method."""
    pointers = {0x3000: 0x5000, 0x3008: 0x6000, 0x3018: 0x1100, 0x3020: 0x1110, 0x3028: 0x1120}
    taken = [0x3000, 0x3028]
    search: Any = object.__new__(go_reach.GoSearch)
    search._file = SimpleNamespace(is_code=lambda address: address < 0x2000)
    search._functions = SimpleNamespace(left=100)
    search._links = SimpleNamespace(
        pointers=pointers,
        slots=lambda target: [at for at, to in pointers.items() if to == target],
        nearest=lambda low, high: max((at for at in taken if low <= at <= high), default=None),
        table=lambda slot: max((at for at in taken if at <= slot), default=None),
        is_in_use=lambda address: address in taken,
    )

    assert 0x3000 in [address for address, _ in search._values(0x1110)]
    assert [(each, ways) for each, ways in search._values(0x1120) if "stored" in ways] == [
        (0x1120, go_reach._WAYS),
        (0x3028, go_reach._WAYS),
    ]
