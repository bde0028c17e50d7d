"""PE and Mach-O files: what every load runs, functions by whatever tells of them, other machines.

tests/data/binaries/README.md says how the files were made.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from tests.elf_files import HEADER, elf, symbol
from tests.needs import parse_needs
from tests.other_files import macho, pe

from cpuprobe.code.archives.walk import members
from cpuprobe.code.coff import read_coff
from cpuprobe.code.elf import ArtifactError, Held
from cpuprobe.code.functions import NAMELESS, Range
from cpuprobe.code.hidden import UnreadError
from cpuprobe.code.jump_tables import jump_tables
from cpuprobe.code.linked import link
from cpuprobe.code.macho import read_macho
from cpuprobe.code.macho_links import chained, rebased
from cpuprobe.code.macho_parts import MachoPart
from cpuprobe.code.native import NATIVE
from cpuprobe.code.pe import read_pe
from cpuprobe.code.pe_links import pointers
from cpuprobe.code.program import Binary, CodeBytes

FILES = Path(__file__).parents[2] / "data" / "binaries"


def content(name: str) -> bytearray:
    return bytearray((FILES / name).read_bytes())


def functions(file: Binary) -> dict[int, tuple[str, str | None]]:
    """By address, name and source."""
    return {
        each.start: (file.name(each.name), each.source)
        for code in range(len(file.code))
        for each in file.functions.ranges(code)
    }


def test_a_table_of_what_the_loader_moves_in_pe_may_be_cut_anywhere():
    """What is whole of it counts; its blocks may say that they are longer than they are."""
    image = (0x140002000).to_bytes(8, "little") * 2
    table = struct.pack("<IIHHH", 0x1000, 14, 0xA000, 0xA008, 0xA100)
    found = [
        [slot for slot, _ in pointers(table[:size], lambda at, count: image, 0)]
        for size in range(len(table) + 1)
    ]

    assert found == [[]] * 10 + [[0x1000]] * 2 + [[0x1000, 0x1008]] * 3


@pytest.mark.parametrize(
    ("name", "kind", "address"),
    [
        ("entry.exe", "executable", 0x140001007),
        ("symbols.exe", "executable", 0x140001007),
        ("tls.dll", "library", 0x2F6621007),
        ("entry.macho", "executable", 0x1000003C4),
        ("load.dylib", "library", 0x3D4),
    ],
)
def test_what_every_run_or_load_executes(name, kind, address):
    """Through the entry point, a TLS callback, LC_MAIN or a constructor; addresses as objdump's."""
    needs = parse_needs(bytes(content(name)))

    assert needs.kind == kind
    assert needs.entry["avx"] == address
    assert needs.features.keys() == {"avx", "avx2"}
    assert needs.features["avx2"].places[0].address == address + 4


def test_an_exported_function_is_no_entry():
    """DllMain alone is executed by every load; the export names the function."""
    needs = parse_needs(bytes(content("export.dll")))

    assert needs.kind == "library"
    assert needs.entry == {}
    assert (needs.reached["avx"].by, needs.reached["avx"].name) == ("export", "sum")
    assert [place.name for place in needs.features["avx2"].places] == ["sum"]


@pytest.mark.parametrize("suffix", ["dll", "dylib"])
@pytest.mark.parametrize(
    ("name", "reached"), [("chooses", False), ("thread", True), ("table", True)]
)
def test_ways_without_a_choice(name, suffix, reached):
    """By what the loader moves, imports, and the registers of the calling convention."""
    needs = parse_needs(bytes(content(f"{name}.{suffix}")))

    assert needs.dispatch == ("CPUID",)
    assert needs.followed
    assert ("avx" in needs.reached) == reached
    assert {each.name for each in needs.reached.values()} == ({"work"} if reached else set())


@pytest.mark.parametrize("maker", ["msvc", "mingw"])
@pytest.mark.parametrize(("name", "reached"), [("always", True), ("choice", False)])
def test_what_constructors_of_windows_libraries_come_to(maker, name, reached):
    """Through the table that Microsoft's startup code is handed, and the list of MinGW's."""
    needs = parse_needs(bytes(content(f"{maker}-{name}.dll")))

    assert needs.dispatch == ("CPUID",)
    assert needs.followed
    assert needs.entry == {}  # known by their form alone, they prove nothing
    assert {each.by for each in needs.reached.values()} == ({"load"} if reached else set())


def test_tables_that_are_none_of_constructors():
    """The first pointer is none, all are of code, a list ends."""
    whole = bytes(content("msvc-always.dll"))
    (constructor,) = read_pe(Held(whole)).constructors
    table = struct.pack("<QQ", 0, constructor)
    at = whole.index(table)
    for other in (struct.pack("<QQ", constructor, constructor), struct.pack("<QQ", 0, 1)):
        assert read_pe(Held(whole[:at] + other + whole[at + 16 :])).constructors == ()
    listed = bytes(content("mingw-always.dll"))
    (constructor,) = read_pe(Held(listed)).constructors
    at = listed.index(struct.pack("<qQQ", -1, constructor, 0))
    for other in (struct.pack("<qQQ", -2, constructor, 0), struct.pack("<qQQ", -1, constructor, 1)):
        assert read_pe(Held(listed[:at] + other + listed[at + 24 :])).constructors == ()


def test_what_the_loader_moves_in_macho():
    """As llvm-objdump --rebase lists it."""
    file = read_macho(Held(bytes(content("table.dylib"))))
    rows = [struct.iter_unpack("<QQQ", table) for table in file.relocations.tables]

    assert {place for row in rows for place, info, _ in row if info == 8} == {
        *(0x2008, 0x2010),
        *range(0x2020, 0x2050, 8),
    }


SEGMENTS = [(0x1000, 0, 0x1000), (0x2000, 0x1000, 0x100)]


@pytest.mark.parametrize(
    ("opcodes", "slots"),
    [
        ("11 21 08 51 00", [0x2008]),
        ("11 21 08 53", [0x2008, 0x2010, 0x2018]),
        ("11 21 08 30 10 42 52", [0x2028, 0x2030]),
        ("11 21 00 60 02 70 10 51", [0x2000, 0x2008, 0x2010, 0x2028]),
        ("11 21 80 01 80 02 08", [0x2080, 0x2090]),
        ("11 2f 08 51", [0x8]),  # of no segment
        ("11 21", []),
        ("00 21 00 51", []),
    ],
)
def test_rebase_opcodes_of_macho(opcodes, slots):
    """<mach-o/loader.h>, REBASE_OPCODE_*."""
    assert list(rebased(bytes.fromhex(opcodes), SEGMENTS)) == slots


def test_no_more_slots_than_any_file_has():
    with pytest.raises(ArtifactError, match="addresses in data"):
        list(rebased(bytes.fromhex("11 21 00 60 ff ff ff ff ff 7f"), SEGMENTS))


@pytest.mark.parametrize("form", [2, 6])
def test_chained_fixups_of_macho(form):
    """A chain of an address, an import and an address; the first page's, and none on the second."""
    body = bytearray(0x100)
    for at, word in ((8, 0x1234 | 2 << 51), (16, 1 << 63 | 4 << 51), (32, 0x5678)):
        struct.pack_into("<Q", body, at, word)
    segment = struct.pack("<IHHQIH2H", 26, 0x80, form, 0, 0, 2, 8, 0xFFFF)
    fixups = struct.pack("<7I", 0, 28, 0, 0, 0, 0, 0) + struct.pack("<3I", 2, 0, 12) + segment
    base = 0x100000000 if form == 6 else 0

    for cut in range(len(fixups)):
        list(chained(fixups[:cut], SEGMENTS, lambda _: bytes(body), 0x100000000))
    found = chained(fixups, SEGMENTS, lambda _: bytes(body), 0x100000000)
    assert list(found) == [(0x2008, base + 0x1234), (0x2020, base + 0x5678)]


@pytest.mark.parametrize(
    ("read", "table"),
    [
        ("8b 8c 82 30 10 00 00", 0x1030),  # mov ecx, [rdx + rax * 4 + 0x1030]
        ("41 8b 84 88 30 10 00 00", 0x1030),
        ("0f b6 84 02 3c 10 00 00", 0x103C),  # movzx eax, byte [rdx + rax + 0x103c]
        ("8b 8c 82 50 10 00 00", None),  # in the next function: a field of what RDX points to
        ("8b 8c 82 08 10 00 00", None),  # before the function
        ("8b 8c 82 00 00 10 00", None),
        ("8b 82 30 10 00 00", None),  # without an index
    ],
)
def test_jump_tables_behind_code(read, table):
    """As Microsoft's compiler has them, in the range of the function; LLD's are elsewhere."""
    data = b"\xcc" * 16 + bytes.fromhex(read) + b"\xff\xe1" + b"\xcc" * 80
    code = CodeBytes(0, ".text", 0x1000 + (1 << 32), data)
    functions = {
        start: Range(start, end, NAMELESS, "unwind", False)
        for start, end in ((0x100001010, 0x100001044), (0x100001044, 0x100001060))
    }
    found = [] if table is None else [(table + (1 << 32), 0x100001044)]

    assert list(jump_tables(code, 1 << 32, functions)) == found


@pytest.mark.parametrize(("name", "offset"), [("entry.obj", 0x12C), ("big.obj", 0x150)])
def test_functions_of_coff_objects(name, offset):
    """By symbol; objdump -h says where the code stands, objdump -t what is in it."""
    file = read_coff(Held(bytes(content(name))))
    needs = parse_needs(bytes(content(name)))

    assert functions(file) == {
        offset: ("sum", "symbol"),
        offset + 0x41: ("plain", "symbol"),
        offset + 0x45: ("start", "symbol"),
    }
    assert needs.kind == "object"
    assert needs.features.keys() == {"avx", "avx2"}
    assert [place.name for place in needs.features["avx2"].places] == ["sum"]


@pytest.mark.skipif(not NATIVE, reason="nothing is linked without the extension")
def test_objects_for_macos_are_linked_with_their_jump_tables():
    """As llvm-nm and llvm-objdump --data-in-code have them, at new addresses."""
    source = Held(bytes(content("switch.o")))
    alone, linked = read_macho(source), link([MachoPart(source).part()]).file
    moved = linked.code[0].address
    names = {0: "sum", 0x30: "plain", 0x40: "choose", 0xF0: "main"}

    assert alone.objects == {0: [(0xCC, 0xE4)]}
    assert linked.objects == {0: [(moved + 0xCC, moved + 0xE4)]}
    assert {start - moved: name for start, (name, _) in functions(linked).items()} == names
    assert linked.undefined == {"one", "two", "three"}


@pytest.mark.parametrize("segment", ["__GNU_LTO", "__TEXT"])
def test_objects_for_macos_that_wait_for_the_linker(segment):
    """As GCC writes them: every section is of one segment, and none has code."""
    section = struct.pack("<16s16s48x", b"__wrapper_sects", segment.encode())
    command = struct.pack("<II16s40xII", 0x19, 72 + 80, b"", 1, 0) + section
    content = struct.pack("<IIIIII8x", 0xFEEDFACF, 0x01000007, 3, 1, 1, len(command)) + command

    if segment == "__TEXT":
        assert read_macho(Held(content)).code == []
        return
    with pytest.raises(UnreadError, match="link-time"):
        read_macho(Held(content))


@pytest.mark.parametrize("name", ["entry.obj", "big.obj"])
def test_damaged_coff_objects_are_errors_and_nothing_worse(name):
    whole = bytes(content(name))
    for cut in range(8, len(whole), 16):
        try:
            read_coff(Held(whole[:cut]))
        except ArtifactError as error:
            assert "COFF" in str(error)
    for at in range(2, 120):
        for value in (0, 1, 0x7F, 0xFF):
            try:
                parse_needs(whole[:at] + bytes([value]) + whole[at + 1 :])
            except ArtifactError:
                continue


@pytest.mark.parametrize(
    "whole",
    [
        struct.pack("<HH16x", 0x8664, 0),
        pe([], {}),
        macho([], b""),
        elf(),
        elf(kind=1),
    ],
    ids=["COFF", "PE", "Mach-O", "ELF", "ELF object"],
)
def test_what_has_no_sections_was_not_read(whole):
    with pytest.raises(ArtifactError, match="sections"):
        parse_needs(whole)


def test_functions_of_pe():
    """By export, COFF symbol or .pdata; llvm-readobj --unwind lists the same ranges."""
    stripped = read_pe(Held(bytes(content("entry.exe"))))
    symbols = read_pe(Held(bytes(content("symbols.exe"))))

    assert functions(stripped) == {
        0x140001000: ("sum", "symbol"),
        0x140001041: ("plain", "symbol"),
        0x140001045: ("", "unwind"),
    }
    assert functions(symbols) == {
        **functions(stripped),
        0x140001045: ("start", "symbol"),
    }
    assert sorted(each.end for each in symbols.functions.ranges(0)) == [
        0x140001041,
        0x140001045,
        0x14000105A,
    ]


def test_functions_of_macho():
    """By symbol, and in a stripped file by the linker's list; llvm-objdump lists the same."""
    assert functions(read_macho(Held(bytes(content("entry.macho"))))) == {
        0x1000003C0: ("sum", "symbol"),
        0x1000003F0: ("plain", "symbol"),
        0x100000400: ("main", "symbol"),
    }
    assert functions(read_macho(Held(bytes(content("load.dylib"))))) == dict.fromkeys(
        (976, 1024, 1040, 1072), ("", "unwind")
    )


def test_constructors_as_offsets():
    """What newer linkers write: 32 bits that count from the header."""
    changed = content("load.dylib")
    row = changed.index(b"__mod_init_func")
    struct.pack_into("<QIII", changed, row + 40, 4, 8192, 2, 0)
    struct.pack_into("<I", changed, row + 64, 0x16)

    assert read_macho(Held(bytes(changed))).initial == (0x410,)


@pytest.mark.parametrize(
    ("name", "offset", "value", "architecture"),
    [
        ("export.dll", 132, b"\x64\xaa", "AArch64"),
        ("export.dll", 132, b"\x4c\x01", "i386"),
        ("export.dll", 132, b"\x34\x12", "PE machine 0x1234"),
        ("load.dylib", 4, b"\x0c\0\0\1", "AArch64"),
        ("load.dylib", 0, b"\xce\xfa\xed\xfe\x07\0\0\0", "i386"),
        ("load.dylib", 0, b"\xfe\xed\xfa\xce\0\0\0\x12", "PowerPC"),
    ],
)
def test_other_machines_are_named(name, offset, value, architecture):
    changed = content(name)
    changed[offset : offset + len(value)] = value
    needs = parse_needs(bytes(changed))

    assert (needs.kind, needs.architecture) == ("other", architecture)


def test_managed_code_is_none():
    """A .NET assembly for any processor: a 32-bit file with a CLR header."""
    changed = content("export.dll")
    struct.pack_into("<H", changed, 132, 0x14C)
    struct.pack_into("<H", changed, 152, 0x10B)
    struct.pack_into("<II", changed, 152 + 96 + 8 * 14, 0x2000, 72)

    assert parse_needs(bytes(changed)).architecture == "CIL"


@pytest.mark.parametrize(("flags", "lsda"), [(0, False), (1, True), (2, True)])
def test_handlers_of_pe(flags, lsda):
    """UNW_FLAG_EHANDLER and UHANDLER: control may come to places that no branch names."""
    changed, unwind = unwind_of("symbols.exe", 0x1045)
    changed[unwind] = changed[unwind] & 7 | flags << 3

    found = read_pe(Held(bytes(changed))).function(0x140001045)

    assert found is not None
    assert found.lsda is lsda


def test_a_chained_entry_goes_on_with_its_function():
    """UNW_FLAG_CHAININFO: a piece that follows without a gap is no function of its own."""
    changed, unwind = unwind_of("entry.exe", 0x1045)
    changed[unwind] = changed[unwind] & 7 | 4 << 3

    found = read_pe(Held(bytes(changed))).functions.ranges(0)

    assert {each.start: each.end for each in found} == {
        0x140001000: 0x140001041,
        0x140001041: 0x14000105A,
    }


def unwind_of(name: str, function: int) -> tuple[bytearray, int]:
    """A file, and where the UNWIND_INFO of a function stands in it."""
    changed = content(name)
    row = changed.index(struct.pack("<II", function, 0x105A))
    (rva,) = struct.unpack_from("<I", changed, row + 8)
    address, _, offset = struct.unpack_from("<III", changed, changed.index(b".xdata") + 12)
    return changed, offset + rva - address


def test_a_universal_file():
    """The slice for x86-64 is judged, the other is named."""
    one, other = bytes(content("load.dylib")), content("load.dylib")
    other[4:8] = b"\x0c\0\0\1"
    heads = struct.pack(">4sI", b"\xca\xfe\xba\xbe", 100)
    heads += struct.pack(">IIIII", 7, 0, 0, 0, 0) * 98
    heads += struct.pack(">IIIII", 0x01000007, 3, 4096, len(one), 12)
    heads += struct.pack(">IIIII", 0x0100000C, 0, 4096 + len(one), len(other), 12)
    universal = heads + bytes(4096 - len(heads)) + one + bytes(other)

    found = {each.name: each.source for each in members(Held(universal), "x.dylib")}
    assert found.keys() == {"x.dylib!x86_64", "x.dylib!arm64", "x.dylib!i386"}
    for start in ("0000 0041 001d 0a00", "ffff 0041 0007 0700", "0003 002d 0100 0100"):
        java = b"\xca\xfe\xba\xbe" + bytes.fromhex(start) + one
        assert [each.kind.name for each in members(Held(java), "x")] == ["Java class file"]
    twice = bytearray(universal)
    struct.pack_into(">II", twice, 8 + 8, 0, len(universal))
    assert [each.error for each in members(Held(bytes(twice)), "x") if each.error]


def test_a_jump_table_behind_a_call_that_never_returns():
    """As Clang lays it out for macOS (lxml 5.3.0): D5 FD FF FF would be REX2 and UD0."""
    table = [-0x22B, -0x1FD, -0x1FD, -0x1BF, -0x1B1]
    code = bytes.fromhex("c5fdfec0 ff2500000000") + b"\xe8" + struct.pack("<i", -16)
    code += bytes.fromhex("0f1f00") + struct.pack(f"<{len(table)}i", *table)
    names = b"\0f\0"
    rows = symbol(0, 0, 0, 0, 0) + symbol(1, 0x12, 1, HEADER + 10, len(code) - 10)
    body = code + names + rows
    at = [HEADER + len(code), HEADER + len(code) + len(names)]
    sections = [
        (0, 1, 6, HEADER, HEADER, len(code), 0),
        (0, 3, 0, 0, at[0], len(names), 0),
        (0, 2, 0, 0, at[1], len(rows), 2),
    ]

    assert code[18:22] == b"\xd5\xfd\xff\xff"
    assert "apxf" not in parse_needs(elf(body, (), sections)).features


@pytest.mark.parametrize("name", ["symbols.exe", "table.dylib", "entry.macho"])
def test_addresses_at_the_end_of_memory(name):
    """All bits set in any eight bytes of the headers: bases, places and sizes."""
    whole = content(name)
    for at in range(0, 1200, 8):
        changed = whole[:at] + b"\xff" * 8 + whole[at + 8 :]
        try:
            parse_needs(bytes(changed))
        except ArtifactError as error:
            assert str(error).isprintable() and len(str(error)) < 200


@pytest.mark.parametrize("name", ["symbols.exe", "tls.dll", "entry.macho", "load.dylib"])
def test_damage_is_refused_or_read(name):
    """Cut short or with bytes of its headers changed: an answer or one line, never an exception."""
    chance = random.Random(2)
    whole = content(name)
    for number in range(150):
        changed = whole[: chance.randrange(1, len(whole))] if number % 3 == 0 else whole[:]
        for _ in range(3):
            changed[chance.randrange(min(len(changed), 1600))] = chance.choice((0, 0xFF, 0x80, 7))
        try:
            parse_needs(bytes(changed))
        except ArtifactError as error:
            assert str(error).isprintable() and len(str(error)) < 200
