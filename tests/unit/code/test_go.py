"""Go's table of functions: as four releases write it, and damaged."""

from __future__ import annotations

import struct

import pytest
from tests.elf_files import HEADER, go_program, go_table

pytest.importorskip("iced_x86")

from tests.needs import parse_needs

from cpuprobe.code import go, go_reach

MAGICS = [0xFFFFFFFB, 0xFFFFFFFA, 0xFFFFFFF0, 0xFFFFFFF1]
NAMES = [b"main.main", b"x.sum_avx2", b"x.init"]


def read(table: bytes, text: int = 0) -> list[tuple[int, int, str]] | None:
    found = go.functions(table, text)
    if found is None:
        return None
    end = found.table.index
    return [
        (start, stop, found.table[name : end(b"\0", name)].decode())
        for start, stop, name in found.each()
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
    found = go.functions(table[:at] + b"\xff" * 8 + table[at + 8 :], 0)

    assert found is None or all(name <= len(table) for _, _, name in found.each())


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
        ("main.main", True),
    ],
)
def test_what_of_the_runtime_asks_for_others(name, asks):
    """All else of it is executed at the start or all the time, and chooses by what these found."""
    assert (go_reach._RUNTIME.match(name) is None) == asks
