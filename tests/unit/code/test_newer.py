"""Instructions newer than the decoder, by bytes of assemblers that know them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from tests.golden.entries import FOLDER, assemble_entries, read_list

from cpuprobe.code.encoding import fields
from cpuprobe.code.instructions import instructions
from cpuprobe.code.newer import newer, rows

SAMPLES = Path(__file__).parents[2] / "data" / "newer.tsv"
# Rows of one form alone, though the manual has both: LLVM and GNU write memory in another encoding.
OF_REGISTERS_ALONE = {("vmovd", 0xD6), ("vmovd", 0x7E), ("vmovw", 0x7E), ("vmovw", 0x6E)}


class Sample(NamedTuple):
    """One line of the file."""

    code: bytes
    mnemonic: str
    features: tuple[str, ...]


def samples() -> list[Sample]:
    found = []
    for line in SAMPLES.read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            code, mnemonic, features, _ = line.split("\t")
            found.append(Sample(bytes.fromhex(code), mnemonic, tuple(features.split(","))))
    return found


@pytest.mark.parametrize(
    ("code", "mnemonic", "features"),
    [
        # llvm/test/MC/X86 of LLVM 20
        ("c4e25948f5", "tmmultf32ps", ("amx-tf32",)),
        ("62f3e50852d47b", "vminmaxpd", ("avx10.2",)),
        ("62e347d75272807b", "vminmaxbf16", ("avx10.2",)),
        # gas/testsuite/gas/i386 of GNU binutils 2.44
        ("62626e484af5", "tcvtrowd2ps", ("amx-avx512",)),
        ("62637e4807f57b", "tcvtrowd2ps", ("amx-avx512",)),
        ("6201ff082ff5", "vcomxsd", ("avx10.2",)),
        ("62017d08d6ee", "vmovd", ("avx10.2",)),
        ("62057e086ef5", "vmovw", ("avx10.2",)),
        # FP8 tiles as Capstone's tests have them
        ("c4e55bfdf5", "tdpbhf8ps", ("amx-fp8",)),
        ("c4e55afdf5", "tdphbf8ps", ("amx-fp8",)),
        ("c4e559fdf5", "tdphf8ps", ("amx-fp8",)),
        ("62f1ff182fca", "vcomxsd", ("avx10.2",)),  # Xbyak's, checked by XED
    ],
)
def test_it_is_named_with_what_it_needs(code: str, mnemonic: str, features: tuple[str, ...]):
    one = instructions(bytes.fromhex(code) + b"\x90" * 4)[0].decoded

    assert (one.intel, one.features, one.code.hex()) == (mnemonic, features, code)


def test_what_an_assembler_writes_is_read():
    """Name, features and length of every sample, whatever follows it."""
    wrong = []
    for sample in samples():
        for behind in (b"\x90" * 4, b"\xff" * 8, b""):
            one = instructions(sample.code + behind)[0].decoded
            if (one.code, one.intel, one.features) != sample:
                wrong.append((sample, one))

    assert wrong == []


def test_every_row_has_a_sample_of_each_of_its_forms():
    """In registers and in memory, unless the row is of one of them."""
    seen: dict[tuple[str, int, int, int], set[bool]] = {}
    for sample in samples():
        found = fields(sample.code)
        assert found is not None
        key = (sample.mnemonic, found.opcode, found.pp, found.map)
        seen.setdefault(key, set()).add(found.of_memory)
    lacking = []
    for row in rows():
        wanted = {False, True} if row.of_memory is None else {row.of_memory}
        if (row.mnemonic, row.opcode) in OF_REGISTERS_ALONE:
            wanted = {False}
        if not wanted <= seen.get((row.mnemonic, row.opcode, row.pp, row.map), set()):
            lacking.append(row)

    assert lacking == []


def test_no_row_takes_another_instruction():
    """Of a sample its own row alone; of what the decoder knows, none."""
    entries = read_list((FOLDER / "candidates.list").read_text(encoding="ascii"))
    names = {sample.mnemonic for sample in samples()}
    taken = {
        text: found
        for text, code in assemble_entries(entries).items()
        if (found := newer(code)) is not None
        and "apxf" not in found.features
        and not (text.split()[0] == found.mnemonic in names)
    }

    assert taken == {}
    for sample in samples():
        found = newer(sample.code)
        assert found is None or found.mnemonic == sample.mnemonic in names
