"""The scanner in C: it takes bytes for the instructions that iced-x86 takes them for."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from tests.needs import read_needs
from tests.tools import scanner as maker
from tests.tools.forms import names_in
from tests.unit.code.test_newer import samples

from cpuprobe.code import native_functions, scan, simple
from cpuprobe.code.elf import Held
from cpuprobe.code.elf_program import read_elf
from cpuprobe.code.forms import forms
from cpuprobe.code.functions import NAMELESS, Range, packed
from cpuprobe.code.layout import Piece, Plan, plan
from cpuprobe.code.needs import Coverage
from cpuprobe.code.program import Binary, CodeBytes
from cpuprobe.facts.tables import load_table

iced_x86 = pytest.importorskip("iced_x86")
native = pytest.importorskip("cpuprobe._native")
ffi, lib = native.ffi, native.lib

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
# Functions with and without SIMD, in assembler too, of several compilers' times.
NAMES = ("libc.so.6", "ld-linux-x86-64.so.2", "libcrypto.so.3", "libstdc++.so.6", "libm.so.6")
SAMPLE = 1 << 21
"""Bytes of a library that are compared."""

Decoded = tuple[int, int]
"""The length of an instruction and its class."""


@pytest.fixture(scope="module")
def kinds() -> dict[int, int]:
    """Of each code of iced-x86 the class: what a scan is to know of it, whatever its number."""
    words = load_table("baseline")
    numbers: dict[maker.Class, int] = {}
    for number in range(lib.scan_classes_number):
        numbers.setdefault(told(number), number)
    codes = {code: maker.class_of_code(code, words) for code in names_in(iced_x86.Code)}
    return {code: numbers[each] for code, each in codes.items() if each in numbers}


def told(number: int) -> maker.Class:
    """A class as the tables in C have it."""
    row = lib.scan_classes[number]
    names = [
        ffi.string(lib.scan_feature_names[row.features[at]]).decode() for at in range(row.counted)
    ]
    known = [each for at, each in enumerate(names) if row.features[at] < lib.scan_known_features]
    flags = {flag: getattr(lib, f"CLASS_{flag}") for flag in maker.FLAGS}
    flow = ffi.string(ffi.cast("enum flow", row.flow)).removeprefix("FLOW_")
    return maker.Class(
        tuple(flag for flag in maker.FLAGS if row.flags & flags[flag]),
        flow,
        tuple(known),
        tuple(names[len(known) :]),
    )


def decoded(data: bytes) -> list[Decoded]:
    """What the scanner takes some bytes for, decoding straight on."""
    lengths, classes = (ffi.new("uint8_t[]", len(data)) for _ in range(2))
    count = lib.scan_decode_all(data, len(data), lengths, classes)
    return list(zip(ffi.buffer(lengths, count)[:], ffi.buffer(classes, count)[:], strict=True))


def differences(data: bytes, kinds: dict[int, int]) -> Iterator[tuple[bytes, str, Decoded]]:
    """The instructions that iced-x86 takes for others; behind each both begin at the same place."""
    names = names_in(iced_x86.Code)
    decoder = iced_x86.Decoder(64, data)
    ours = decoded(data)
    at = position = 0
    while at < len(ours):
        decoder.position = position
        for each in islice(decoder, len(ours) - at):
            length, kind = ours[at]
            at += 1
            same = (each.len, kinds.get(each.code)) == (length, kind)
            if not same:
                yield data[position : position + 15], names[each.code], (length, kind)
            position += length
            if each.len != length:
                break


def is_newer(difference: tuple[bytes, str, Decoded]) -> bool:
    """Whether it is no instruction to iced-x86, and one of the newer rows or of APX here."""
    _, name, (_, kind) = difference
    needs = {*told(kind).needs, *told(kind).unknown}
    newer = {feature for sample in samples() for feature in sample.features}
    return name == "INVALID" and bool(needs & newer) and "RARE" in told(kind).flags


@pytest.mark.slow
def test_the_tables_are_current():
    """`make gen` would write what is there."""
    assert maker.PATH.read_text(encoding="ascii") == maker.make()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_libraries_are_decoded_as_iced_does(name, kinds):
    """Lengths, control flow and features of all instructions, data between them included."""
    path = LIBRARIES / name
    if not path.exists():
        pytest.skip(f"no {name} here")
    total = 0
    for code in read_elf(Held(path.read_bytes())).code:
        data = code.data[:SAMPLE]
        total += len(data)
        assert [each for each in differences(data, kinds) if not is_newer(each)] == []
    assert total > 50_000


PREFIXES = [b""] * 4 + [bytes((each,)) for each in b"\x66\xf3\xf2\x48\x41\xf0\x67\x2e\x4c"]
STARTS = (
    b"",
    b"\x0f",
    b"\x0f\x38",
    b"\x0f\x3a",
    b"\x0f\x0f",
    b"\x0f\x01",
    b"\x0f\xae",
    b"\x0f\xc7",
)


def random_code(source: random.Random) -> bytes:
    """32 bytes that are more often an instruction of each encoding than by chance."""
    pick, byte = source.choice, source.randrange
    vvvv = pick((0, 0x78))
    starts = (
        pick(PREFIXES) + pick(PREFIXES) + pick(STARTS),
        bytes((0xC5, byte(256) | vvvv)),
        bytes((0xC4, byte(8) << 5 | pick((1, 2, 3)), byte(256) | vvvv)),
        bytes((0x8F, byte(8) << 5 | pick((8, 9, 10)), byte(256) | vvvv)),
        bytes((0x62, byte(16) << 4 | pick((1, 2, 3, 5, 6)), byte(256) | vvvv | 4, byte(256) | 8)),
        b"",
    )
    return (pick(starts) + source.randbytes(32))[:32]


@pytest.mark.slow
def test_random_bytes_are_decoded_as_iced_does(kinds):
    """All encodings, valid and not. Where both say no instruction, the length is of no weight."""
    source = random.Random(15)
    reached: set[int] = set()
    names = names_in(iced_x86.Code)
    wrong = []
    for _ in range(40_000):
        code = random_code(source)
        each = iced_x86.Decoder(64, code).decode()
        length, kind = decoded(code)[0]
        reached.add(each.code)
        if each.is_invalid and "INVALID" in told(kind).flags:
            continue
        difference = code, names[each.code], (length, kind)
        if (each.len, kinds.get(each.code)) != (length, kind) and not is_newer(difference):
            wrong.append(difference)

    assert wrong == []
    assert len(reached) > 1500


def test_what_is_newer_is_known():
    """Length and features of what LLVM 22 assembles, whatever follows it."""
    wrong = []
    for sample in samples():
        for behind in (b"\x90" * 20, b"\xff" * 20, b""):
            length, kind = decoded(sample.code + behind)[0]
            needs = {*told(kind).needs, *told(kind).unknown}
            right = needs == {*sample.features} or needs == {"apxf"} <= {*sample.features}
            if length != len(sample.code) or not right:
                wrong.append((sample, length, needs))

    assert wrong == []


def test_a_cut_instruction_is_none():
    """At the end of the bytes: as much as there is, and no instruction."""
    for code in map(bytes.fromhex, ("e8000000", "62f17c48", "c5", "0f", "4881c0000000", "66" * 9)):
        ((length, kind),) = decoded(code)

        assert (length, told(kind).flow) == (len(code), "INVALID")


def made_of(*sections: tuple[int, str]) -> Binary:
    """A library with a function in each of some sections: their addresses and bytes."""
    file = Binary("x86-64", "library")
    for number, (address, code) in enumerate(sections):
        file.code.append(CodeBytes(number, f".text.{number}", address, bytes.fromhex(code)))
    rows = [
        packed(Range(*code.span, NAMELESS, "symbol", False), at)
        for at, code in enumerate(file.code)
    ]
    file.functions = native_functions.settled([b"".join(rows)])
    return file


@pytest.mark.parametrize("threads", [1, 2])
def test_pages_that_sections_share_have_the_features_of_both(threads, monkeypatch):
    """AVX before AVX2 on one page, and SSE4.1 on the next, in one thread and in two."""
    monkeypatch.setattr(scan, "parts", lambda size: threads)
    vaddps, vpaddd, pblendvb, ret = "c5fc58c1", "c5fdfec1", "660f3810c1", "c3"
    file = made_of((0x1FF0, vaddps + ret), (0x1FF8, vpaddd + "90" * 8 + pblendvb + ret))
    found = scan.scan(file, plan(file), threads=threads)

    assert found.pages == {1: {"avx", "avx2"}, 2: {"sse4.1"}}
    assert found == simple.scan(file, plan(file), forms())


def test_a_file_without_code_has_no_pages():
    """As debug information in a file of its own."""
    file = made_of()

    assert scan.scan(file, plan(file)) == simple.scan(file, plan(file), forms())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_plain_scanner_gives_the_same_answer(name):
    """Features, places, pages and functions of whole libraries; what is newer it does not know."""
    path = LIBRARIES / name
    if not path.exists():
        pytest.skip(f"no {name} here")
    file = read_elf(Held(path.read_bytes()))
    work = plan(file)

    assert scan.scan(file, work) == simple.scan(file, work, forms())


@pytest.mark.slow
def test_bytes_of_no_function_are_swept_in_lanes_as_in_one():
    """What is believed, what not, and how much is taken for code, with words of text between."""
    path = LIBRARIES / "libm.so.6"
    if not path.exists():
        pytest.skip("no libm.so.6 here")
    file = read_elf(Held(path.read_bytes()))
    found = max(file.code, key=lambda each: len(each.data))
    data = bytearray(found.data[: 1 << 19])
    for at in range(7_000, len(data), 30_000):
        data[at : at + 40] = b"lmno" * 10
    code = CodeBytes(found.index, found.name, found.address, bytes(data))
    rows = array("Q", (code.address, code.address + len(data), 0))
    number = file.code.index(found)
    work = Plan([Piece(code, number, file.functions, False, 0, rows, [0])], len(data), Coverage())
    swept = scan.scan(file, work)

    assert swept == simple.scan(file, work, forms())
    assert swept.features["avx"].by.keys() == {"sweep"}
    assert swept.coverage.unknown > 0 < swept.coverage.discarded


@pytest.mark.slow
def test_without_the_extension_check_still_answers(monkeypatch):
    """The plain scanner is used where nothing was compiled."""
    path = str(LIBRARIES / "libc.so.6")
    if not Path(path).exists():
        pytest.skip("no libc.so.6 here")
    with_it = read_needs(path)
    monkeypatch.setattr(scan, "NATIVE", False)

    assert read_needs(path) == with_it
