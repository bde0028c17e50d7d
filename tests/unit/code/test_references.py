"""How the parts of a file refer to each other, found in C."""

from __future__ import annotations

import random
import struct
from types import SimpleNamespace

import pytest
from tests.elf_files import HEADER, elf
from tests.needs import parse_needs

from cpuprobe.code import unclaimed
from cpuprobe.code.functions import NAMELESS, FunctionTable, Range
from cpuprobe.code.objects import Tables
from cpuprobe.code.program import Binary, CodeBytes, Relocations, asks

pytest.importorskip("iced_x86")
pytest.importorskip("cpuprobe._native")

from cpuprobe.code import memory_reads
from cpuprobe.code.holding import holding
from cpuprobe.code.links import Links

BASE, SLOT = 0x1000, 0x8000
R_64, R_JUMP_SLOT, R_RELATIVE = 1, 7, 8


def relative(code: str, site: int, target: int) -> bytes:
    """An instruction that ends with the distance to its target."""
    head = bytes.fromhex(code)
    return head + struct.pack("<i", target - site - len(head) - 4)


def links(code: bytes, starts: tuple[int, ...], relocations: Relocations) -> Links:
    functions = {start: Range(start, 0, NAMELESS, "unwind", False) for start in starts}
    return Links(
        Binary(
            "x86-64",
            "library",
            code=[CodeBytes(0, ".text", BASE, code)],
            functions=FunctionTable.of({0: functions}),
            relocations=relocations,
        )
    )


def test_calls_and_addresses_that_are_taken():
    """CALL, JMP and JCC to a function; LEA of an address, and MOV from a slot that holds one."""
    code = (
        relative("e8", BASE, BASE + 0x40)
        + relative("0f85", BASE + 5, BASE + 0x40)
        + relative("e9", BASE + 11, BASE + 0x41)  # no function begins there
        + relative("488d05", BASE + 16, 0x9000)
        + relative("4c8b3d", BASE + 23, SLOT)
        + b"\x0f\xa2\x0f\x01\xd0"
    ).ljust(0x40, b"\x90") + relative("e8", BASE + 0x40, BASE)
    rows = struct.pack("<QQQ", SLOT, R_RELATIVE, 0x9100)
    found = links(code, (BASE, BASE + 0x40), Relocations([rows]))

    assert [*found.callers(BASE + 0x40)] == [BASE, BASE + 5]
    assert [*found.callers(BASE)] == [BASE + 0x40]
    assert [*found.takers(0x9000, 0x9200)] == [(0x9000, BASE + 16), (0x9100, BASE + 23)]
    assert found.nearest(0x9000, 0x90FF) == 0x9000
    assert found.asking() == [BASE + 30, BASE + 32]
    assert found.function(BASE + 0x3F) == (BASE, BASE + 0x40)
    assert found.function(BASE + len(code)) is None


def test_what_looks_like_cpuid_within_an_instruction():
    """It does not ask, unless bytes before it are no instruction: then nobody knows where it is."""
    inside = bytes.fromhex("b8 0fa20000 ba 0f01d000 c3").ljust(0x20, b"\xcc")
    asks = bytes.fromhex("b8 0fa20000 f30fa2 0f01d0 c3").ljust(0x20, b"\xcc")
    lost = bytes.fromhex("06 b8 0fa20000 c3").ljust(0x20, b"\xcc")
    starts = (BASE, BASE + 0x20, BASE + 0x40)
    found = links(inside + asks + lost, starts, Relocations())

    assert found.asking() == [BASE + 0x26, BASE + 0x28, BASE + 0x42]
    # What is in no function may be cut anywhere.
    assert links(inside, (), Relocations()).asking() == [BASE + 1, BASE + 6]


def test_parts_that_are_searched_at_once(monkeypatch):
    """However code is cut, the same is found in the same order, across sections and cuts."""
    number = random.Random(7)
    starts = tuple(range(BASE, BASE + 0x3000, 0x40))
    heads = ("e8", "e9", "0f84", "488d05", "4c8b0d", "ff15")
    sections: list[CodeBytes] = []
    address = BASE
    for size in (0x1001, 0, 0x35, 0x1FC0):
        code = bytearray(number.randbytes(size))
        for at in range(0, size - 16, 5):
            target = number.choice(starts if number.random() < 0.7 else (SLOT, SLOT + 8))
            made = relative(number.choice(heads), address + at, target)
            code[at : at + len(made)] = made
        sections.append(CodeBytes(len(sections), ".text", address, bytes(code)))
        address += size
    functions = {start: Range(start, 0, NAMELESS, "unwind", False) for start in starts}
    rows = b"".join(struct.pack("<QQQ", SLOT + 8 * at, R_RELATIVE, BASE + 0x40) for at in (0, 1))
    found = []
    for parts in (1, 2, 3, 64):
        monkeypatch.setattr("cpuprobe.code.links.parts", lambda size, parts=parts: parts)
        of = Links(
            Binary(
                "x86-64",
                "library",
                code=sections,
                functions=FunctionTable.of({0: functions}),
                relocations=Relocations([rows]),
            )
        )
        callers = [(start, [*of.callers(start)]) for start in starts]
        found.append((callers, [*of.takers(0, 1 << 64)], of.asking()))

    assert sum(len(sites) for _, sites in found[0][0]) > 500
    assert len(found[0][1]) > 100
    assert found.count(found[0]) == len(found)


def test_functions_on_pages_with_a_feature():
    """All that have some bytes on the page; what is on two pages has the features of both."""
    starts = tuple(BASE + at for at in (0x10, 0xFF0, 0x1000, 0x2FFF, 0x3000))
    found = links(b"\x90" * 0x4000, starts, Relocations())
    page = BASE >> 12
    pages = {
        page + 2: frozenset({"avx"}),
        page: frozenset({"avx2", "avx"}),
        page + 9: frozenset({"sha"}),
    }
    every, size = holding(found, pages)
    held = dict(every)

    assert size == 0x4000 - 0x10 - 0x1000  # all, but for the last one
    assert {name: [*those] for name, those in held.items()} == {
        "avx": [starts[3], starts[1], starts[0], starts[2]],  # small ones first
        "avx2": [starts[1], starts[0]],
        "sha": [],
    }
    assert [start in held["avx2"] for start in starts] == [True, True, False, False, False]
    assert BASE not in held["avx"]


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_relocations(kind):
    """Large tables are bytearrays; of one slot the last row counts; a name is another file's."""
    symbol = struct.Struct("<IBBHQQ")
    symbols = symbol.pack(0, 0, 0, 0, 0, 0) + symbol.pack(0, 0x12, 0, 1, BASE, 0)
    symbols += symbol.pack(1, 0x12, 0, 0, 0, 0)
    rows = (
        (SLOT, R_RELATIVE, 1),
        (SLOT + 8, 1 << 32 | R_64, 4),
        (SLOT, R_RELATIVE, BASE),
        (SLOT + 16, 2 << 32 | R_JUMP_SLOT, 0),
        (SLOT + 24, 9 << 32 | R_64, 0),  # no such symbol
    )
    table = b"".join(struct.pack("<QQQ", *row) for row in rows) + b"\1\2\3"
    found = links(
        b"\x90" * 32, (BASE,), Relocations([kind(table)], kind(symbols), b"\0getauxval\0")
    )

    assert dict(zip(found.pointers.keys, found.pointers.values, strict=True)) == {
        SLOT: BASE,
        SLOT + 8: BASE + 4,
    }
    assert found.names == {SLOT + 16: "getauxval"}
    assert found.slots(BASE) == (SLOT,)
    assert (SLOT in found.pointers, SLOT + 4 in found.pointers) == (True, False)


def test_immediates_of_a_program_that_does_not_move():
    """MOV of a function's address to a register, and to memory."""
    start = BASE + 0x20
    code = b"\xbf" + struct.pack("<I", start) + b"\x48\xc7\x44\x24\x08" + struct.pack("<I", start)
    words = [(SLOT, struct.pack("<QQ", 5, start))]
    found = links(code.ljust(0x30, b"\x90"), (BASE, start), Relocations(words=words))

    assert [*found.takers(start, start + 1)] == [(start, BASE), (start, BASE + 6)]
    assert found.slots(start) == (SLOT + 8,)


def test_entries_of_a_procedure_linkage_table():
    """A jump through a slot, with BND or ENDBR64 before, stands for the function behind it."""
    target, table = BASE, 0x2000
    code = relative("e8", BASE, table + 16) + relative("e9", BASE + 5, table)
    entries = (
        relative("ff25", table, SLOT).ljust(16, b"\x90")
        + relative("f30f1efaf2ff25", table + 16, SLOT).ljust(16, b"\x90")
        + relative("ff25", table + 32, SLOT + 8)  # another file's
        + b"\xff\x25\0\0"  # cut off
    )
    file = Binary(
        "x86-64",
        "library",
        code=[CodeBytes(0, ".text", BASE, code), CodeBytes(1, ".plt", table, entries)],
        functions=FunctionTable.of({0: {BASE: Range(BASE, 0, NAMELESS, "symbol", False)}}),
        relocations=Relocations([struct.pack("<QQQ", SLOT, R_RELATIVE, target)]),
    )
    found = Links(file)

    assert found.stubs == {table: target, table + 16: target}
    # Beside the jumps in the table itself.
    assert sorted(site for site in found.callers(target) if site < table) == [BASE, BASE + 5]
    assert list(found.starts) == [BASE, table, table + 16, table + 32]
    assert found.function(table + 20) == (table + 16, table + 32)


@pytest.mark.parametrize("is_offsets", [False, True])
def test_the_global_offset_table_is_no_table_of_methods(is_offsets):
    """What stands there beside the place of a thread's variable is not called by who asks for that.

    Two words that the loader fills with numbers, and a function behind them, look like methods.
    """
    code = relative("488d3d", BASE, SLOT).ljust(0x40, b"\x90") + b"\xc3"
    rows = struct.pack("<QQQ", SLOT + 24, R_RELATIVE, BASE + 0x40)
    of_code = [(SLOT, SLOT + 64)] if is_offsets else []
    found = links(code, (BASE, BASE + 0x40), Relocations([rows], of_code=of_code))
    file = Binary("x86-64", "library", code=[CodeBytes(0, ".text", BASE, code)])

    owners = [] if is_offsets else [(SLOT, SLOT)]
    assert [*Tables(file, found).owners(SLOT + 24)] == owners


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_ZN2cv20checkHardwareSupportEi", True),
        ("av_get_cpu_flags", True),
        ("rte_cpu_get_flag_enabled", True),  # DPDK's
        ("SDL_HasAVX2", True),
        ("_ZN4absl8CpuIdentEv", True),
        ("x264_cpu_capabilities", True),
        ("sched_getcpu", False),
        ("getauxval", False),
        ("cpu_get_name", False),
        ("pthread_getaffinity_np", False),
    ],
)
def test_names_of_functions_that_tell_of_the_cpu(name, expected):
    assert asks(name) is expected


def test_places_in_sections_that_overlap_are_in_order(monkeypatch):
    """C relies on it: of a damaged file some came twice, and it wrote behind a table."""
    handed = []

    def of(_, places):
        handed.append(places)
        return set(), set()

    monkeypatch.setattr(unclaimed._Calls, "of", of)
    code = (b"\xc5\xfd\xfe\xc0" * 300 + b"\xc3").ljust(0x1000, b"\x90")
    sections = [(0, 1, 6, at, HEADER, len(code), 0) for at in (0x1000, 0x1800)]
    parse_needs(elf(code, (), sections))

    assert [*map(len, handed)] == [256]
    assert [*handed[0]] == sorted({*handed[0]})


@pytest.mark.parametrize("whole", [True, False])
def test_code_is_gone_through_once_for_reads(whole, monkeypatch):
    """However many ranges there are: of a static library's objects, each has its own."""
    code = [CodeBytes(n, ".text", 4096 * n, bytes(64)) for n in range(1, 301)]
    spans = [(4096 * n + 8 * m, 4096 * n + 8 * m + 8) for n in range(1, 301) for m in range(3)]
    looked = []
    fake = SimpleNamespace(links_reads=lambda data, first, last, at, *_: looked.append(at + first))
    monkeypatch.setattr(memory_reads, "lib", fake)
    memory_reads.reads(code, None if whole else spans)

    starts = [each.address for each in code] if whole else [start for start, _ in spans]
    assert looked == starts
