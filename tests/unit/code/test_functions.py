"""Tables of functions: what C makes of symbols, unwind entries and code, Python makes as well."""

from __future__ import annotations

import random
import struct
from types import ModuleType

import pytest
from tests.elf_files import symbol

from cpuprobe.code.functions import NAMELESS, NO_CODE, FunctionTable, Range, packed
from cpuprobe.code.program import CodeBytes

pytest.importorskip("cpuprobe._native")

from cpuprobe.code import native_functions as native
from cpuprobe.code import plain_functions as plain

ROUNDS = 80
SIZE = 600
CODE = [(0x1000, 0x1000 + SIZE), (0x2000, 0x2000 + SIZE)]
OBJECT, FUNC, IFUNC, GLOBAL, LOCAL = 1, 2, 10, 16, 0
NAMES = b"\0__cpu_model\0__cpu_models\0one\0other\0__cpu_features2\0"
ANSWERS = b"__cpu_model\0__cpu_features2\0"
CIES = [
    bytes([1, *b"zPLR\0", 1, 0x78, 16, 7, 0x1B, 0, 0, 0, 0, 0x1B, 0x1B]),
    bytes([1, *b"zR\0", 1, 0x78, 16, 1, 0x1B]),
    bytes([3, *b"zRS\0", 1, 0x78, 0x90, 1, 1, 0x0C]),
    bytes([1, *b"\0", 1, 0x78, 16]),
    bytes([1, *b"eh\0", 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x78, 16]),
    bytes([1, *b"zR", *b"SB" * 12, *b"\0", 1, 0x78, 16, 1, 0x1B]),
]
PADDING = [
    *("90", "cc", "00", "6690", "2e6690", "66662e0f1f840000000000", "0f1f4000"),
    *("0f1f8000000000", "0f1f440000", "0f1f00", "0f1f4001", "0f1f40"),
]


def symbols(random: random.Random) -> bytes:
    """Of every kind, inside and outside of code, some at one place."""
    rows = bytearray()
    for _ in range(random.randrange(60)):
        value = random.choice([0, 0x1000, 0x2000, 1 << 64]) - 8 + random.randrange(SIZE)
        kind = random.choice([0, OBJECT, FUNC, FUNC, IFUNC, 3]) + random.choice([GLOBAL, LOCAL])
        size = random.choice([0, 0, 4, 40, (1 << 64) - 1])
        name = random.choice([0, 1, 13, 26, 30, 36, 1000])
        row = symbol(name, kind, random.choice([0, 1, 2, 3, 9]), value % (1 << 64), size)
        rows += row[:5] + bytes([random.randrange(4)]) + row[6:]
    return bytes(rows)


def unwind(random: random.Random, address: int) -> bytes:
    """Entries of several CIEs, some of them damaged; the last may be cut off."""
    made = bytearray()
    cies: list[int] = []
    for _ in range(random.randrange(50)):
        at = len(made)
        if not cies or not random.randrange(4):
            body = struct.pack("<I", 0) + random.choice(CIES)
            cies.append(at)
        else:
            start = random.choice(CODE)[0] - 8 + random.randrange(SIZE + 16)
            place = struct.pack("<iI", start - (address + at + 8), random.randrange(50))
            lsda = random.choice([b"\0", b"\4\0\0\0\0", b"\4\1\0\0\0", b"\x80"])
            body = struct.pack("<I", at + 4 - random.choice(cies)) + place + lsda
        body += bytes(random.choice([0, 3, 16]))
        made += struct.pack("<I", len(body)) + body
    for _ in range(random.choice([0, 0, 3])):
        if made:
            made[random.randrange(len(made))] = random.randrange(256)
    return bytes(made[: len(made) - random.choice([0, 0, 5])])


def code(random: random.Random) -> bytes:
    """Instructions, and what stands between functions."""
    made = bytearray()
    while len(made) < SIZE:
        made += bytes.fromhex(random.choice(PADDING)) * random.choice([1, 5, 40])
        made += random.randbytes(random.choice([0, 1, 30]))
    return bytes(made[:SIZE])


def data(random: random.Random, start: int) -> list[tuple[int, int]]:
    """Ranges of data, in order."""
    ends = sorted(random.sample(range(start, start + SIZE), 2 * random.randrange(6)))
    return list(zip(ends[::2], ends[1::2], strict=True))


def told(make: ModuleType, of: random.Random) -> tuple[FunctionTable, list[object]]:
    """The functions of some symbols and unwind entries, and what else is told of a file."""
    address = of.choice([0, 0x5000])
    is_object = of.random() < 0.3
    rows: list[bytes] = []
    further: list[object] = []
    for number in range(2):
        found = make.symbols(symbols(of), NAMES, number, [NO_CODE, 0, 1], CODE, is_object, ANSWERS)
        rows.append(found.functions)
        *exports, names = found.exports
        lists = found.undefined, *exports, names.keys, names.values, found.answers
        further += [*map(list, lists), bytes(found.objects), found.ifuncs]
    table = of.randbytes(24 * 30)
    count, within = make.relocations(table, int.from_bytes(table[8:12], "little"), 1 << 62, 1 << 63)
    further += [count, list(within)]
    rows.append(make.unwind(unwind(of, address), address, CODE))
    return make.settled(rows), further


def test_c_and_python_make_the_same(monkeypatch):
    """Of random symbols, unwind entries, data and code, whether they are counted first or not."""
    for seed in range(ROUNDS):
        of = random.Random(seed)
        monkeypatch.setattr(native, "_MANY", 1 << 18 if seed & 1 else 0)
        made, further = told(native, random.Random(seed))
        plainly, further_plainly = told(plain, of)
        assert further == further_plainly, seed
        assert bytes(made.rows) == bytes(plainly.rows), seed
        for number, (start, _) in enumerate(CODE):
            piece = CodeBytes(number, "", start, code(of))
            arguments = made.within(number), piece, data(of, start), of.randrange(99)
            cuts = [make.cut(*arguments) for make in (native, plain)]

            assert [*map(list, cuts[0][:4])] == [*map(list, cuts[1][:4])], seed
            assert cuts[0][4:] == cuts[1][4:], seed


@pytest.mark.parametrize("make", [native, plain])
def test_unwind_entries_of_parts_of_a_function_begin_none(make):
    """Of one whose end a symbol tells of; its landing pads are the function's."""
    symbols = [
        Range(0x1000, 0x1100, (0, 1), "symbol", False),
        Range(0x1200, 0, (0, 2), "symbol", False),
        Range(0x1300, 0x1380, (0, 3), "symbol", False),
        Range(0x1340, 0x1360, (0, 4), "symbol", False),
    ]
    entries = [
        *(
            Range(start, end, NAMELESS, "unwind", False)
            for start, end in ((0x1004, 0x1080), (0x1100, 0x1180))
        ),
        Range(0x1080, 0x1100, NAMELESS, "unwind", True),
        Range(0x1240, 0x1280, NAMELESS, "unwind", False),
        Range(0x1360, 0x1380, NAMELESS, "unwind", False),
    ]
    table = make.settled(
        [b"".join(packed(each, 0) for each in rows) for rows in (symbols, entries)]
    )

    assert [(each.start, each.name, each.lsda) for each in table.ranges(0)] == [
        (0x1000, (0, 1), True),
        (0x1100, NAMELESS, False),
        (0x1200, (0, 2), False),
        (0x1240, NAMELESS, False),
        (0x1300, (0, 3), False),
        (0x1340, (0, 4), False),
        (0x1360, NAMELESS, False),  # behind what begins inside of it
    ]
