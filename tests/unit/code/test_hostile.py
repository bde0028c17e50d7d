"""Files made to cost time or memory: each ends in an answer, within 20 s and 1 GB."""

from __future__ import annotations

import io
import os
import signal
import struct
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.elf_files import HEADER, elf, go_program, go_table, note, symbol
from tests.limits import assert_answered, run
from tests.other_files import CODE, DATA, linked, macho, pe, segment

pytest.importorskip("iced_x86")

from cpuprobe.check import many
from cpuprobe.check.against import within
from cpuprobe.code import clock, read, scan
from cpuprobe.facts.profiles import find_profile

EXECUTABLE, SYMTAB, STRTAB, RELA, NOTE, FUNCTION = 4, 2, 3, 4, 7, 0x12
LOAD, DYNAMIC, PT_NOTE, EH_FRAME = 1, 2, 4, 0x6474E550
WASMTIME = 200
ENGINE = b"\x00\x0250\x18x86_64-unknown-linux-gnu\x00\x00\xff"


# --- ELF -----------------------------------------------------------------------------------------


def artifact(code: bytes, symbols: bytes) -> bytes:
    """A .cwasm with these symbols of section 1, its code."""
    names = b"\0.text\0.wasmtime.engine\0.symtab\0.strtab\0f\0"
    body = code + ENGINE + names + symbols
    at = [HEADER, HEADER + len(code), HEADER + len(code) + len(ENGINE)]
    sections = [
        (1, 1, EXECUTABLE, 0, at[0], len(code), 0),
        (7, 1, 0, 0, at[1], len(ENGINE), 0),
        (32, STRTAB, 0, 0, at[2], len(names), 0),
        (24, SYMTAB, 0, 0, at[2] + len(names), len(symbols), 3),
    ]
    return elf(body, (), sections, kind=1, abi=WASMTIME, names=3)


def overlapping_functions() -> bytes:
    """20,000 functions of an artifact that each are all of its code."""
    code = b"\xc5\xfd\xfe\xc0" * 100_000
    rows = (symbol(40, FUNCTION, 1, number, len(code) - number) for number in range(20_000))
    return artifact(code, b"".join(rows))


def jump_tables() -> bytes:
    """An artifact of one function with 60,000 jump tables, each as long as the function."""
    # lea rax, [rip+x]; jmp rax; the tables lie behind, all entries point to the function's end.
    count = 60_000
    size = 9 * count
    jumps = b"".join(
        b"\x48\x8d\x05" + struct.pack("<i", size - 9 * number - 7 + 4 * (number % 64)) + b"\xff\xe0"
        for number in range(count)
    )
    # A conditional jump to each of them, so that all are reached.
    reach = b"".join(
        b"\x0f\x84" + struct.pack("<i", 6 * (count - n - 1) + 9 * n) for n in range(count)
    )
    code = reach + jumps + bytes(4 * count)
    return artifact(code, symbol(40, FUNCTION, 1, 0, len(code)))


def symbol_tables() -> bytes:
    """4,000 symbol tables over the same 200 KB."""
    code = b"\xc5\xfd\xfe\xc0" * 1000
    rows = b"".join(symbol(1, FUNCTION, 1, HEADER + n, 4) for n in range(8000))
    at = HEADER + len(code)
    table = (0, SYMTAB, 0, 0, at, len(rows), 2)
    sections = [
        (0, 1, EXECUTABLE, HEADER, HEADER, len(code), 0),
        (0, STRTAB, 0, 0, at, len(rows), 0),
    ]
    return elf(code + rows, (), sections + [table] * 4000)


def relocation_tables() -> bytes:
    """16,000 relocation tables over the whole file."""
    code = b"\xc5\xfd\xfe\xc0" * 6000
    text = (0, 1, EXECUTABLE, HEADER, HEADER, len(code), 0)
    return elf(code, (), [text] + [(0, RELA, 0, 0, HEADER, len(code), 0)] * 16_000)


def executable_sections() -> bytes:
    """20,000 executable sections over the same 400 KB."""
    code = b"\xc5\xfd\xfe\xc0" * 100_000
    rows = [(0, 1, EXECUTABLE, n << 24, HEADER, len(code), 0) for n in range(20_000)]
    return elf(code, (), rows)


def executable_segments() -> bytes:
    """The same as segments, without sections."""
    code = b"\xc5\xfd\xfe\xc0" * 100_000
    return elf(code, [(LOAD, 5, HEADER, n << 24, len(code)) for n in range(20_000)])


def dynamic_segments() -> bytes:
    """20,000 dynamic segments over the whole file."""
    code = b"\xc5\xfd\xfe\xc0" * 100_000
    rows = [(DYNAMIC, 4, HEADER, 0, len(code) & ~15)] * 20_000
    return elf(code, [(LOAD, 5, HEADER, HEADER, len(code)), *rows])


def unwind_headers() -> bytes:
    """30,000 headers of .eh_frame, which is in the last of 30,000 segments."""
    code = b"\x90" * 4096
    header = struct.pack("<BBBBi", 1, 0x1B, 0, 0, 0x1000)
    at = HEADER + len(code)
    headers = [(EH_FRAME, 4, at, 0x10_0000, 8)] * 30_000
    loads = [(LOAD, 4, HEADER, 0x20_0000 + n, 1) for n in range(30_000)]
    return elf(code + header, [(LOAD, 5, HEADER, HEADER, len(code)), *headers, *loads])


def unwind_entries() -> bytes:
    """A million entries of .eh_frame that share the functions of a small file."""
    cie = struct.pack("<II", 16, 0) + b"\x01zR\0\x01\x78\x10\x01\x1b\x00\x00\x00"
    code = b"\xc3" * 4096
    at = HEADER + len(code)
    entries = bytearray(cie)
    for n in range(400_000):
        here = len(entries)
        start = (HEADER + n % 4096) - (at + here + 8)
        entries += struct.pack("<IIiI", 12, here + 4, start, 4096)
    names = b"\0.text\0.eh_frame\0"
    sections = [
        (1, 1, EXECUTABLE, HEADER, HEADER, len(code), 0),
        (7, 1, 0, at, at, len(entries), 0),
        (0, STRTAB, 0, 0, at + len(entries), len(names), 0),
    ]
    return elf(code + bytes(entries) + names, (), sections, names=3)


def many_functions() -> bytes:
    """A million functions of one byte."""
    code = b"\xc3" * 1_000_000
    rows = b"".join(symbol(0, FUNCTION, 1, HEADER + n, 1) for n in range(len(code)))
    at = HEADER + len(code)
    sections = [
        (0, 1, EXECUTABLE, HEADER, HEADER, len(code), 0),
        (0, SYMTAB, 0, 0, at, len(rows), 0),
    ]
    return elf(code + rows, (), sections)


def walked_functions() -> bytes:
    """One function of nearly 1 MiB in which every instruction is rare: control flow is followed."""
    code = b"\x0f\x0f\xc0\x9e" * (1 << 18)
    rows = symbol(0, FUNCTION, 1, HEADER, len(code) - 8)
    at = HEADER + len(code)
    sections = [
        (0, 1, EXECUTABLE, HEADER, HEADER, len(code), 0),
        (0, SYMTAB, 0, 0, at, len(rows), 0),
    ]
    return elf(code + rows, (), sections)


def damaged_properties() -> bytes:
    """2,000 property segments over the same notes."""
    body = note(5, bytes(16), b"GNU\0") * 10_000
    return elf(body, [(0x6474E553, 4, HEADER, 0, len(body))] * 2000)


def go_functions() -> bytes:
    """500,000 functions of Go, each for AVX2, and all of them initialise a package."""
    code = b"\xc5\xfd\xfe\xc0" * (1 << 19)
    return go_program(code, range(0, len(code), 4), [b"p.init", b"q.init.0"])


def go_pointers() -> bytes:
    """A function of Go for AVX2 that 250,000 pointers lead to, each taken by another's code."""
    count, size = 1 << 18, 7 << 18
    last = b"\xc5\xfd\xfe\xc0\xc3"
    at = go_program(b"\x90" * (size + len(last)), [0, size], [b"p.f", b"p.g"]).index(b"\xf1\xff")
    data = at + len(go_table([0, size, size + len(last)], [b"p.f", b"p.g"], 0xFFFFFFF1, HEADER))
    code = b"".join(
        b"\x48\x8d\x05" + struct.pack("<i", data + n - (HEADER + 7 * (n // 8) + 7))
        for n in range(0, 8 * count, 8)
    )
    words = struct.pack("<Q", HEADER + size) * count
    return go_program(code + last, [*range(0, size, 7000), size], [b"p.f", b"p.g"], words)


def go_reads() -> bytes:
    """48 MiB of what initialises packages, all of it reads of static memory; and one of AVX2."""
    code = b"\x8b\x05\x00\x00\x00\x7f" * (8 << 20) + b"\xc5\xfd\xfe\xc0\xc3"
    return go_program(code, range(0, len(code) - 5, 6 << 10), [b"p.init.0"])


def pointers_to_one() -> bytes:
    """400,000 pointers to one function, which holds many features; another asks."""
    code = bytes.fromhex(
        "c5fdfec0 c4e27198c2 c4e278f2c1 62f17d48fec0 c4e27d13c1 c4e27ddcc1 660f38dcc1 0f38c8c1"
        "660f38cfc1 c4e37d44c100 62f27d4850c1 62f27e4852c1 62f27d48c4c1 0f38f000 660f38f6c1 c3"
        "0fa2 c3"
    )
    count, data = 400_000, HEADER + len(code)
    rows = b"".join(struct.pack("<QQq", data + 8 * n, 8, HEADER) for n in range(count))
    named = symbol(0, FUNCTION, 1, HEADER, len(code) - 3) + symbol(0, FUNCTION, 1, data - 3, 3)
    at = [data, data + 8 * count, data + 8 * count + len(rows)]
    sections = [
        (0, 1, EXECUTABLE, HEADER, HEADER, len(code), 0),
        (0, 1, 3, at[0], at[0], 8 * count, 0),
        (0, RELA, 2, at[1], at[1], len(rows), 0),
        (0, SYMTAB, 0, 0, at[2], len(named), 0),
    ]
    return elf(code + bytes(8 * count) + rows + named, (), sections)


def pe_relocations() -> bytes:
    """40 MiB of pages without relocations, each in the last of 96 sections."""
    few = [(0x1000 * n, b"\xc3" * 16, DATA) for n in range(1, 95)]
    table = struct.pack("<II", few[-1][0], 8) * (5 << 20)
    code = (0x200000, b"\xc5\xfd\xfe\xc0\xc3" * 100, CODE)
    return pe([*few, code, (0x400000, table, DATA)], {5: (0x400000, len(table))})


def _macho(commands: Callable[[int], list[bytes]], body: bytes) -> bytes:
    """A dylib with the commands for where its body begins, which begins with 500 bytes of code."""
    at = len(macho(commands(0), b""))
    return macho(commands(at), b"\xc5\xfd\xfe\xc0\xc3" * 100 + body)


def _text(at: int, more: Sequence[tuple[int, int, int, int]] = ()) -> bytes:
    return segment(b"__TEXT", 0x1000, 0, at + 500, [(0x1000 + at, 500, at, 0x80000400), *more])


def macho_pages() -> bytes:
    """50,000 segments that share the same 65,535 pages without addresses."""
    segments, pages = 50_000, 65_535
    starts = struct.pack("<I", 4 + 4 * segments) * segments
    of_one = struct.pack("<IHHQIH", 0, 0x1000, 2, 0, 0, pages) + b"\xff\xff" * pages
    fixups = struct.pack("<7I", 0, 28, *bytes(5)) + struct.pack("<I", segments) + starts + of_one
    one = segment(b"x", 0x10000000, 0, 64)

    def commands(at: int) -> list[bytes]:
        return [_text(at), *[one] * segments, linked(0x80000034, at + 500, len(fixups))]

    return _macho(commands, fixups)


def macho_imports() -> bytes:
    """4,000 sections that share the same 4 million slots with addresses of other files."""
    count = 4 << 20
    slots = [(0x100000, 8 * count, 0, 7)] * 4000

    def commands(at: int) -> list[bytes]:
        symbols = at + 500 + 4 * count
        table = struct.pack("<IIIIII", 2, 24, symbols, 1, symbols + 16, 16)
        return [_text(at, slots), table, struct.pack("<II48xII16x", 0xB, 80, at + 500, count)]

    return _macho(commands, bytes(4 * count) + struct.pack("<IBBHQ", 1, 1, 0, 0, 0) + bytes(16))


def macho_tables() -> bytes:
    """8 million times the same table in code."""
    tables = struct.pack("<IHH", 600, 4, 1) * (8 << 20)
    return _macho(lambda at: [_text(at), linked(0x29, at + 500, len(tables))], tables)


FILES: list[tuple[Callable[[], bytes], bool | None]] = [
    (overlapping_functions, True),
    (jump_tables, None),
    (symbol_tables, None),
    (relocation_tables, True),
    (executable_sections, True),
    (executable_segments, True),
    (dynamic_segments, None),
    (unwind_headers, None),
    (unwind_entries, None),
    (many_functions, None),
    (walked_functions, None),
    (damaged_properties, None),
    (go_functions, None),
    (go_pointers, None),
    (go_reads, None),
    (pointers_to_one, False),
    (pe_relocations, False),
    (macho_pages, True),
    (macho_imports, False),
    (macho_tables, True),
]


@pytest.mark.parametrize(
    ("make", "refused"), FILES, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_file_that_costs(make, refused, tmp_path):
    path = tmp_path / make.__name__
    path.write_bytes(make())

    assert_answered("check", path, "--against", "x86-64-v2", refused=refused)


def test_what_takes_too_long_is_given_up(tmp_path, monkeypatch):
    """By the clock, where steps do not tell: in a thread and in an archive too."""
    monkeypatch.setattr(clock, "SECONDS", 0.02)
    monkeypatch.setattr(clock, "PER_MIB", 0)
    before = signal.getsignal(signal.SIGPROF)
    slow, small = filled(RARE, 6 << 20, 1 << 12), filled(ADD, 400, 40)
    (tmp_path / "slow").write_bytes(slow)
    with tarfile.open(tmp_path / "both.tar", "w") as tar:
        for name, content in (("small", small), ("slow", slow), ("last", small)):
            row = tarfile.TarInfo(name)
            row.size = len(content)
            tar.addfile(row, io.BytesIO(content))
    (tmp_path / "small").write_bytes(small)
    files = [(str(tmp_path / name), True) for name in ("slow", "both.tar", "small")]
    fits = many.check(files, within(find_profile("x86-64-v2")), 1, lambda *_: None)

    assert [(fit.path.rpartition("/")[2], fit.expectation) for fit in fits] == [
        ("slow", "unreadable"),
        ("both.tar!small", "unguarded"),
        ("both.tar", "unreadable"),
        ("small", "unguarded"),
    ]
    assert {fit.error for fit in fits} == {None, "it takes too long to read"}
    assert signal.getsignal(signal.SIGPROF) == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)


def filled(code: bytes, size: int, step: int) -> bytes:
    """A file of so many bytes of code; a function each `step` bytes, or none: it is swept."""
    body = (code * (size // len(code) + 1))[:size]
    starts = range(0, size, step) if step else ()
    rows = b"".join(symbol(0, FUNCTION, 1, HEADER + n, min(step, size - n)) for n in starts)
    at = HEADER + size
    sections = [(0, 1, EXECUTABLE, HEADER, HEADER, size, 0)]
    return elf(body + rows, (), sections + [(0, SYMTAB, 0, 0, at, len(rows), 0)] * bool(step))


ADD, BAD, RARE = b"\xc5\xfd\xfe\xc0", b"\x06", b"\x0f\x0f\xc0\x9e"
DENSE = [
    # Bytes that are no instruction, hits alone, in functions of every size, and such as control
    # flow is followed in.
    ("bad-swept", BAD, 64, 0),
    ("hits-swept", ADD, 64, 0),
    ("hits-in-one", ADD, 256, 1 << 30),
    ("hits-in-small", ADD, 6, 4),
    ("rare-walked", RARE, 64, 1 << 19),
    ("few-hits", ADD + b"\x90" * 40, 64, 64),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "mib", "step"), [row[1:] for row in DENSE], ids=[row[0] for row in DENSE]
)
def test_dense_code(code, mib, step, tmp_path):
    """The scanner in C reads it all."""
    path = tmp_path / "dense"
    path.write_bytes(filled(code, mib << 20, step))
    ended = run("check", path, "--against", "x86-64-v2")

    assert ended.returncode in (0, 1), (ended.returncode, ended.stderr[-300:])


@pytest.mark.slow
@pytest.mark.parametrize("plain", [False, True])
def test_what_is_too_much_work_is_refused_as_a_whole(plain, tmp_path, monkeypatch):
    """Each thread's part is within what a file may take, all together are not."""
    path = tmp_path / "dense"
    path.write_bytes(filled(ADD, 12 << 20, 4096))
    most = 8_000_000 if plain else 150_000
    monkeypatch.setattr(read.Reading.scan, "__defaults__", ((), most))
    if plain:
        monkeypatch.setattr(scan, "NATIVE", False)
    against = within(find_profile("x86-64-v1"))
    fits = []
    for cpus in (1, 2, 3):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, cpus=cpus: set(range(cpus)))
        fits.append(many.check([(str(path), True)], against, 1, lambda *_: None))

    assert fits[1:] == fits[:1] * 2
    assert [fit.expectation for fit in fits[0]] == ["unreadable"]
    assert "too much work" in str(fits[0][0].error)


@pytest.mark.slow
def test_compiled_wasm_that_is_too_much_work(tmp_path):
    """Functions of NOPs alone, each as large as one may be."""
    one = 4 << 20
    rows = b"".join(symbol(40, FUNCTION, 1, n * one, one) for n in range(4))
    path = tmp_path / "compiled"
    path.write_bytes(artifact(b"\x90" * (4 * one), rows))

    ended = run("check", path, "--against", "x86-64-v2")

    assert ended.returncode == 4, ended
    assert ended.stderr.count(b"\n") == 1
    assert b"too much work" in ended.stderr


def sparse(path: Path, content: bytes, size: int) -> Path:
    path.write_bytes(content)
    os.truncate(path, size)
    return path


def test_two_gigabytes_of_nothing(tmp_path):
    """A sparse file whose one segment, or section, is all code."""
    size = (2 << 30) - 4096
    for number, content in enumerate(
        (elf(b"", [(LOAD, 5, 4096, 4096, size)]), elf(b"", (), [(0, 1, 4, 0, 4096, size, 0)]))
    ):
        path = sparse(tmp_path / str(number), content, 2 << 30)
        assert_answered("check", path, "--against", "x86-64-v2", refused=True)


@pytest.mark.slow
def test_code_or_tables_that_do_not_fit_into_memory(tmp_path):
    """More functions than there is room for beside their code; symbols of 800 MB beside 400 MB."""
    size = 512 << 20
    rows = b"".join(symbol(0, FUNCTION, 1, HEADER + 64 * n, 64) for n in range(1_100_000))
    text = (0, 1, EXECUTABLE, HEADER, HEADER, size - HEADER, 0)
    content = elf(rows, (), [text, (0, SYMTAB, 0, 0, HEADER, len(rows), 0)])
    path = sparse(tmp_path / "functions", content, size)
    assert_answered("check", path, "--against", "x86-64-v2", refused=True)

    text = (0, 1, EXECUTABLE, HEADER, HEADER, 400 << 20, 0)
    content = elf(b"", (), [text, (0, SYMTAB, 0, 0, HEADER, 24 << 25, 0)])
    path = sparse(tmp_path / "symbols", content, 1 << 30)
    assert_answered("check", path, "--against", "x86-64-v2", refused=True)


@pytest.mark.slow
def test_half_a_gigabyte_of_code_is_read(tmp_path):
    text = (0, 1, EXECUTABLE, HEADER, HEADER, 500 << 20, 0)
    content = elf(b"\xc5\xfd\xfe\xc0" * 50 + b"\xc3", (), [text])
    path = sparse(tmp_path / "large", content, 501 << 20)
    ended = run("check", path, "--against", "x86-64-v2")

    assert ended.returncode == 1, ended.stderr
    assert b"avx2: 50 instructions" in ended.stdout


def test_two_gigabytes_with_a_little_code(tmp_path):
    """What is no code is not read: debug information, say."""
    code = b"\xc5\xfd\xfe\xc0" * 50 + b"\xc3"
    text = (0, 1, EXECUTABLE, HEADER, HEADER, len(code), 0)
    content = elf(code, (), [text, (0, 1, 0, 0, 4096, 1 << 30, 0)])
    path = sparse(tmp_path / "large", content, 2 << 30)
    ended = run("check", path, "--against", "x86-64-v2")

    assert ended.returncode in (0, 1), ended.stderr
    assert b"avx2: 50 instructions" in ended.stdout


def test_many_sections(tmp_path):
    """1.5 million section headers, in a sparse file and in one that is all there."""
    head = bytearray(elf(bytes(64), (), [(0, 1, 0, 0, 0, 0, 0)]))
    struct.pack_into("<H", head, 60, 0)  # e_shnum: the number is in the null section
    (table,) = struct.unpack_from("<Q", head, 40)
    struct.pack_into("<Q", head, table + 32, 1_500_000)
    path = sparse(tmp_path / "sections", bytes(head), 64 * 1_500_010)
    assert_answered("check", path, "--against", "x86-64-v2", refused=True)

    path.write_bytes(elf(b"\xc3" * 64, (), [(0, 1, EXECUTABLE, 0, HEADER, 64, 0)] * 100_000))
    assert_answered("check", path, "--against", "x86-64-v2")


# --- cores and minidumps -------------------------------------------------------------------------


def registers() -> bytes:
    """The notes of one thread that died of SIGILL."""
    status = bytearray(336)
    struct.pack_into("<H", status, 12, 4)
    return note(1, bytes(status))


def test_notes_that_overlap(tmp_path):
    """2,000 PT_NOTE over the same 8 MiB, and 8 MiB of the smallest notes."""
    body = note(99, b"") * ((8 << 20) // 20) + registers()
    path = tmp_path / "core"
    path.write_bytes(elf(body, [(PT_NOTE, 0, HEADER, 0, len(body))] * 2000, kind=4))
    assert_answered("explain", "--core", path, "--on", _report())

    path.write_bytes(elf(registers() + body, [(PT_NOTE, 0, HEADER, 0, len(body))], kind=4))
    assert_answered("explain", "--core", path, "--on", _report(), refused=False)


def test_many_segments_of_a_core(tmp_path):
    loads = [(LOAD, 5, HEADER, n << 12, 1) for n in range(131_000)]
    body = registers()
    content = elf(body, [(PT_NOTE, 0, HEADER, 0, len(body)), *loads], [(0,) * 7], kind=4)
    path = tmp_path / "core"
    path.write_bytes(content)
    assert_answered("explain", "--core", path, "--on", _report())


def test_many_names_in_a_minidump(tmp_path):
    """262,144 modules whose names are all the same 4 KB."""
    count, streams = 1 << 18, 3
    modules_at = 32 + 12 * streams
    size = 4 + 108 * count
    name_at = modules_at + size
    name = struct.pack("<I", 4096) + "a".encode("utf-16-le") * 2048
    system_at = name_at + len(name)
    system = struct.pack("<H18xI", 9, 0x8201) + bytes(32)
    exception_at = system_at + len(system)
    exception = struct.pack("<IIIIQQ", 0, 0, 4, 0, 0, 0x1000) + bytes(136)
    row = struct.pack("<QIIII", 0, 0, 0, 0, name_at) + bytes(84)
    directory = [(4, size, modules_at), (7, 56, system_at), (6, 168, exception_at)]
    path = tmp_path / "many.dmp"
    path.write_bytes(
        struct.pack("<4sIII16x", b"MDMP", 0xA793, streams, 32)
        + b"".join(struct.pack("<III", *each) for each in directory)
        + struct.pack("<I", count)
        + row * count
        + name
        + system
        + exception
    )
    assert_answered("explain", "--minidump", path, "--on", _report(), refused=False)


def _report() -> Path:
    return Path(__file__).parents[2] / "data" / "reports" / "qemu-user-nehalem.json"


# --- what is no file -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "{}"),
        ("check", "/bin/true", "--against", "{}"),
        ("explain", "--core", "{}"),
        ("explain", "--minidump", "{}"),
        ("explain", "--log", "{}"),
        ("explain", "f30fb8c0", "--on", "{}"),
    ],
    ids=" ".join,
)
def test_pipes_and_devices_are_refused(arguments, tmp_path):
    """Nothing waits for a writer, and no device is opened."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for special in (str(pipe), "/dev/zero"):
        ended = run(*(each.replace("{}", special) for each in arguments))

        assert ended.returncode == 4
        assert ended.stderr.count(b"\n") == 1
        assert b"not a regular file" in ended.stderr
