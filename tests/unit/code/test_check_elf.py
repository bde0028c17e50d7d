"""ELF files: features are found where there is code; data in text is not taken for code."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("iced_x86")

from tests.elf_files import HEADER, elf
from tests.examples import examples
from tests.needs import parse_needs, read_needs

from cpuprobe.check.against import within
from cpuprobe.check.judge import Fit, judge
from cpuprobe.code.elf import SHT_DYNSYM, SHT_SYMTAB, ArtifactError, Elf, Held
from cpuprobe.code.elf_program import read_elf
from cpuprobe.code.native import NATIVE
from cpuprobe.code.needs import Needs
from cpuprobe.code.read import Sought, complete, opened
from cpuprobe.facts.profiles import find_profile

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")

DISPATCHED = """
__attribute__((target("avx2"), noinline)) void fast(int *a, const int *b) {
    for (int i = 0; i < 8; i++) __asm__ volatile("vpaddd %ymm1, %ymm0, %ymm0");
}
__attribute__((noinline)) void slow(int *a, const int *b) { a[0] += b[0]; }
int main(int argc, char **argv) {
    int a[8] = {0}, b[8] = {1};
    if (__builtin_cpu_supports("avx2")) fast(a, b); else slow(a, b);
    return a[0] & argc >> 8;
}
"""
IFUNC = """
static int one(void) { __asm__ volatile("vfmadd213ps %xmm0, %xmm0, %xmm0"); return 1; }
static int two(void) { return 2; }
static int (*choose(void))(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("fma") ? one : two;
}
int pick(void) __attribute__((ifunc("choose")));
int main(void) { return pick() == 7; }
"""
PLAIN = "int main(int argc, char **argv) { return argc > 99; }"
CERTAIN = """
int main(void) { __asm__ volatile("vpaddd %ymm1, %ymm0, %ymm0"); return 0; }
"""
# vpaddd zmm0, zmm0, zmm0; pfadd mm0, mm0; vprotb (XOP); a function jumps over them.
ISLAND = """
__asm__(".globl hop\\n.type hop, @function\\nhop:\\n.cfi_startproc\\njmp 1f\\n"
    ".byte 0x62,0xf1,0x7d,0x48,0xfe,0xc0\\n.byte 0x0f,0x0f,0xc0,0x9e\\n"
    ".byte 0x8f,0xe8,0x78,0xc0,0xc0,0x01\\n"
    "1: ret\\n.cfi_endproc\\n.size hop, .-hop\\n");
int hop(void);
int main(void) { return hop() == 1; }
"""
# A table of constants between two functions, claimed by neither: MD5's sine constants hold bytes of
# every prefix; the second is a run of 3DNow! and AVX-512 code too short to be a function.
TABLE = """
__asm__(".globl before\\n.type before, @function\\nbefore:\\nret\\n.size before, .-before\\n"
    ".long 0xd76aa478,0xe8c7b756,0x242070db,0xc1bdceee,0xf57c0faf,0x4787c62a,0xa8304613\\n"
    ".long 0xfd469501,0x698098d8,0x8b44f7af,0xffff5bb1,0x895cd7be,0x6b901122,0xfd987193\\n"
    ".byte 0x62,0xf1,0x7d,0x48,0xfe,0xc0,0x0f,0x0f,0xc0,0x9e,0xc5,0xfd,0xfe,0xc0\\n"
    ".long 0xa679438e,0x49b40821,0xf61e2562,0xc040b340,0x265e5a51,0xe9b6c7aa,0xd62f105d\\n"
    ".globl after\\n.type after, @function\\nafter:\\nret\\n.size after, .-after\\n");
int before(void), after(void);
int main(void) { return before() == after(); }
"""


def build(folder: Path, source: str, *options: str, name: str = "a.out") -> Path:
    target = folder / name
    subprocess.run(
        ["gcc", "-O1", "-x", "c", "-", "-o", target, *options], input=source.encode(), check=True
    )
    return target


def against(path: Path, name: str) -> Fit:
    machine = within(find_profile(name))
    assert machine is not None
    return judge(str(path), read_needs(str(path)), machine)


def needs_of(fit: Fit) -> Needs:
    assert fit.needs is not None
    return fit.needs


def strip(path: Path) -> Path:
    subprocess.run(["strip", "-s", path], check=True)
    return path


@pytest.fixture(scope="module")
def dispatched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dispatched"), DISPATCHED)


# --- what is code --------------------------------------------------------------------------------


def test_a_dispatched_function_is_named(dispatched):
    """The feature, its function, and the address that nm gives."""
    fit = against(dispatched, "x86-64-v2")
    use = read_needs(str(dispatched)).features["avx2"]
    symbols = subprocess.run(["nm", dispatched], capture_output=True, check=True).stdout.decode()
    fast = next(line for line in symbols.splitlines() if line.endswith(" fast"))

    assert (fit.expectation, fit.fits) == ("guarded", True)
    assert "which it can choose at run time: CPUID, XGETBV" in fit.reason
    assert fit.missing == ("avx2",)
    assert {"CPUID", "XGETBV"} <= set(needs_of(fit).dispatch)  # libgcc's, linked in
    assert [place.name for place in use.places] == ["fast"]
    assert 0 <= use.places[0].address - int(fast.split()[0], 16) < 16
    assert use.by == {"symbol": use.instructions}


def test_stripped_the_unwind_entry_is_what_is_left(dispatched, tmp_path):
    """Without symbols the same instructions are found through .eh_frame."""
    bare = strip(Path(shutil.copy(dispatched, tmp_path / "bare")))
    full, less = read_needs(str(dispatched)), read_needs(str(bare))

    assert less.features["avx2"].by == {"unwind": full.features["avx2"].instructions}
    assert less.features["avx2"].places[0].name == ""
    assert less.features["avx2"].places[0].address == full.features["avx2"].places[0].address


def test_without_section_headers_the_segments_are_read(dispatched):
    """sstrip's trick: no section headers at all; .eh_frame is found through its segment."""
    content = bytearray(dispatched.read_bytes())
    content[40:48] = bytes(8)  # e_shoff
    content[60:64] = bytes(4)  # e_shnum, e_shstrndx
    use = parse_needs(bytes(content)).features["avx2"]

    assert use.by == {"unwind": read_needs(str(dispatched)).features["avx2"].instructions}


def test_an_ifunc_is_a_sign_of_dispatch(tmp_path):
    fit = against(build(tmp_path, IFUNC), "x86-64-v2")

    assert fit.expectation == "guarded"
    assert "fma" in fit.missing
    assert any("ifunc" in sign for sign in needs_of(fit).dispatch)


def test_nothing_chooses(tmp_path):
    """A library without any sign of dispatch: in doubt it does not fit, and the doubt is said."""
    source = 'void f(void) { __asm__ volatile("vpaddd %ymm1, %ymm0, %ymm0"); }'
    fit = against(build(tmp_path, source, "-shared", "-fPIC"), "x86-64-v2")

    assert (fit.expectation, fit.fits) == ("unguarded", False)
    assert "nothing in this file chooses" in fit.reason
    assert "only if its callers" in fit.reason


@pytest.mark.parametrize(("sought", "scans"), [((), 2), (("avx2",), 2), (("avx", "avx2"), 1)])
def test_a_library_of_named_functions_is_scanned_again_only_for_their_names(
    sought, scans, tmp_path, monkeypatch
):
    """Where all that hold a feature were asked for, they are known."""
    function = 'void f{}_avx2(void) {{ __asm__ volatile("vpaddd %ymm1, %ymm0, %ymm0"); }}\n'
    text = "".join(map(function.format, range(12)))
    text += 'void g_avx(void) { __asm__ volatile("vaddps %ymm1, %ymm0, %ymm0"); }\n'
    reading = opened(str(build(tmp_path, text, "-shared", "-fPIC")))
    monkeypatch.setattr(reading, "reached", lambda *_: Sought({}))
    scan = mock.Mock(side_effect=reading.scan)
    monkeypatch.setattr(reading, "scan", scan)
    needs = complete(reading, reading.scan(sought))

    assert scan.call_count == scans
    assert needs.named == ("avx", "avx2")


@pytest.mark.parametrize("plain", [False, True], ids=["in C", "in Python"])
def test_section_numbers_that_patchelf_left_behind(plain, tmp_path, monkeypatch):
    """It moves sections, and the loader does not ask: of what is loaded the addresses tell."""
    monkeypatch.setattr("cpuprobe.code.making.NATIVE", NATIVE and not plain)
    path = build(tmp_path, DISPATCHED, "-shared", "-fPIC")
    content = bytearray(path.read_bytes())
    before = read_elf(Held(bytes(content)))
    for table in Elf(Held(bytes(content))).sections:
        if table.type in (SHT_DYNSYM, SHT_SYMTAB):
            for row in range(table.offset, table.offset + table.size, 24):
                (number,) = struct.unpack_from("<H", content, row + 6)
                if 0 < number < 0xFF00:
                    struct.pack_into("<H", content, row + 6, number - 4 if number > 4 else 1)
    after = read_elf(Held(bytes(content)))

    assert sorted(after.exports) == sorted(before.exports) != []
    assert bytes(after.functions.rows) == bytes(before.functions.rows)
    assert after.linked


def test_an_object_file(tmp_path):
    source = 'void f(void) { __asm__ volatile("vpaddd %ymm1, %ymm0, %ymm0"); }'
    path = build(tmp_path, source, "-c", "-ffunction-sections", name="f.o")
    needs = read_needs(str(path))

    assert needs.kind == "object"
    assert [place.name for place in needs.features["avx2"].places] == ["f"]


def test_a_plain_program_runs_everywhere(tmp_path):
    for options in ((), ("-static",), ("-no-pie",)):
        fit = against(build(tmp_path, PLAIN, *options), "x86-64-v4")
        if "-static" not in options:
            assert not fit.missing
            assert against(build(tmp_path, PLAIN, *options), "x86-64-v1").expectation == "runs"
        assert fit.fits


def test_tzcnt_is_no_need_of_bmi(tmp_path):
    """GCC writes `rep bsf` for CPUs without BMI1 too."""
    source = "int main(int n, char **v) { return __builtin_ctz(n | 512) == 77; }"
    path = build(tmp_path, source)
    listing = subprocess.run(["objdump", "-d", path], capture_output=True, check=True).stdout

    assert b"tzcnt" in listing or b"repz bsf" in listing
    assert "bmi" not in read_needs(str(path)).features


def test_main_that_begins_with_it_dies(tmp_path):
    """What lies on the only way from the entry point is certain; QEMU agrees."""
    path = build(tmp_path, CERTAIN)

    assert against(path, "x86-64-v2").expectation == "dies"
    assert not against(path, "x86-64-v2").fits
    assert against(path, "x86-64-v3").expectation == "runs"
    if (qemu := shutil.which("qemu-x86_64")) is not None:
        died = subprocess.run([qemu, "-cpu", "Nehalem", path], capture_output=True)
        assert died.returncode == -4  # SIGILL


# --- what is data --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [ISLAND, TABLE], ids=["island", "table"])
@pytest.mark.parametrize("bare", [False, True], ids=["symbols", "stripped"])
def test_data_in_text_is_no_code(source, bare, tmp_path):
    """Constants behind a jump and tables between functions need nothing."""
    path = build(tmp_path, source)
    listing = subprocess.run(["objdump", "-d", path], capture_output=True, check=True).stdout
    if bare:
        path = strip(path)
    needs = read_needs(str(path))

    assert b"pfadd" in listing  # a linear sweep does take it for code
    assert needs.features == {}
    assert needs.unknown == {}
    assert against(path, "x86-64-v1").expectation == "runs"
    assert needs.coverage.discarded >= 1


def test_what_an_object_symbol_claims_is_data(tmp_path):
    source = ISLAND.replace("jmp 1f", "jmp 1f\\n.type t, @object\\n.size t, 16\\nt:")
    needs = read_needs(str(build(tmp_path, source)))

    assert needs.features == {}
    assert needs.coverage.data == 16


def test_rare_code_is_believed_where_flow_leads(tmp_path):
    """A function whose first instruction is 3DNow! does contain 3DNow!."""
    source = 'void f(void) { __asm__ volatile("pfadd %mm0, %mm0"); }'
    needs = read_needs(str(build(tmp_path, source, "-shared", "-fPIC")))

    assert needs.features["3dnow"].instructions == 1


def test_every_byte_is_accounted_for(dispatched):
    coverage = read_needs(str(dispatched)).coverage

    parts = (coverage.symbol, coverage.unwind, coverage.sweep, coverage.padding)
    assert sum(parts) + coverage.data + coverage.unknown == coverage.total


# --- property notes ------------------------------------------------------------------------------


def test_a_level_in_the_note_is_refused_by_the_loader(tmp_path):
    """-z x86-64-v3 needs v3; the loader's own words are predicted, and QEMU shows them."""
    path = build(tmp_path, PLAIN, "-Wl,-z,x86-64-v3")
    notes = subprocess.run(["readelf", "-n", path], capture_output=True, check=True).stdout
    fit = against(path, "x86-64-v2")

    assert b"x86 ISA needed" in notes and b"x86-64-v3" in notes
    assert needs_of(fit).isa_needed[-1] == "x86-64-v3"
    assert (fit.expectation, fit.fits) == ("refused", False)
    assert against(path, "x86-64-v3").expectation == "runs"
    if (qemu := shutil.which("qemu-x86_64")) is not None:
        refused = subprocess.run([qemu, "-cpu", "Nehalem", path], capture_output=True)
        assert refused.returncode != 0
        assert str(fit.message).encode() in refused.stderr


# --- unwind entries ------------------------------------------------------------------------------


def test_unwind_entries_are_those_of_pyelftools(dispatched):
    elffile = pytest.importorskip("elftools.elf.elffile")
    content = dispatched.read_bytes()
    entries = elffile.ELFFile(io.BytesIO(content)).get_dwarf_info().EH_CFI_entries()
    expected = {
        entry["initial_location"]: entry["address_range"]
        for entry in entries
        if type(entry).__name__ == "FDE"
    }
    elf = read_elf(Held(content))
    found = {
        function.start: function.end - function.start
        for number in range(len(elf.code))
        for function in elf.functions.ranges(number)
        if function.source == "unwind"
    }

    assert expected
    for start, size in found.items():
        assert expected[start] == size
    assert set(expected) <= set(elf.functions.starts())


# --- hostile files -------------------------------------------------------------------------------


def header(machine: int = 62, kind: int = 3, **fields: int) -> bytes:
    """An ELF header alone (System V ABI, chapter 4)."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    values = dict(shoff=0, shentsize=64, shnum=0, shstrndx=0, phoff=0, phentsize=56, phnum=0)
    values.update(fields)
    return ident + struct.pack(
        "<HHIQQQIHHHHHH",
        kind,
        machine,
        1,
        0,
        values["phoff"],
        values["shoff"],
        0,
        64,
        values["phentsize"],
        values["phnum"],
        values["shentsize"],
        values["shnum"],
        values["shstrndx"],
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MZ",
        b"\x7fELF",
        b"\x7fELF" + b"\xff" * 60,
        header()[:40],
        header(shoff=1 << 63, shnum=3),
        header(shoff=64, shnum=0xFFFF),
        header(shoff=64, shnum=1, shentsize=1),
        header(phoff=1 << 60, phnum=2),
        header(phoff=64, phnum=0xFFFF),
        header(phoff=64, phnum=1, phentsize=0),
        header(kind=4),
        header(shoff=64) + struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 1 << 60, 0, 0, 0, 0),
    ],
    ids=range(13),
)
def test_hostile_headers_get_one_line(content):
    with pytest.raises(ArtifactError) as caught:
        parse_needs(content)

    assert "\n" not in str(caught.value)


def test_a_large_section_that_is_cut_while_it_is_read():
    """What is read by several threads into one place has to be all there."""

    class Cut(Held):
        def into(self, offset: int, room: memoryview) -> int:
            return super().into(offset, room[: max(0, (3 << 20) - offset)])

    content = elf(bytes(5 << 20), (), [(0, 1, 4, HEADER, HEADER, 5 << 20, 0)])
    whole = read_elf(Held(content)).code[0].data

    assert whole[:] == bytes(5 << 20)
    with pytest.raises(ArtifactError, match="shorter"):
        read_elf(Cut(content))


def test_another_architecture_is_foreign(tmp_path):
    path = tmp_path / "arm"
    path.write_bytes(header(machine=183))
    fit = against(path, "x86-64-v4")

    assert (fit.expectation, fit.fits) == ("foreign", False)
    assert "AArch64" in fit.reason


def test_every_truncation_ends_in_an_answer(dispatched):
    content = dispatched.read_bytes()
    for size in range(0, len(content), 97):
        with pytest.raises(ArtifactError):
            parse_needs(content[:size])


@examples(150)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=9)), max_size=8))
def test_mutations_end_in_an_answer(tmp_path_factory, changes):
    """Whatever is overwritten: needs or one line, nothing else."""
    folder = tmp_path_factory.getbasetemp() / "mutations"
    folder.mkdir(exist_ok=True)
    path = folder / "a.out"
    if not path.exists():
        build(folder, DISPATCHED)
    content = bytearray(path.read_bytes())
    for position, replacement in changes:
        at = position % len(content)
        content[at : at + len(replacement)] = replacement
    try:
        needs = parse_needs(bytes(content))
    except ArtifactError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(needs, Needs)


def test_special_files_are_not_read(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in ("/dev/zero", str(fifo), str(tmp_path), str(tmp_path / "none"), "a\0b"):
        with pytest.raises(ArtifactError):
            read_needs(path)


def test_data_that_goes_on_past_the_last_address():
    """A damaged size leads to no number that C cannot hold."""
    code = b"\xc5\xfd\xfe\xc0" * 64 + b"\xc3"
    segments = [(1, 5, 0, 0, HEADER + len(code)), (1, 6, 0, (1 << 64) - 16, HEADER)]

    assert "avx2" in parse_needs(elf(code, segments)).features
