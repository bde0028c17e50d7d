"""Engine sections of wasmtime's artifacts: both encodings, real artifacts, hostile input."""

import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuprobe.code.elf import ArtifactError, read_sections
from cpuprobe.code.engine_section import (
    ENGINE_SECTION,
    EngineSection,
    FlagValue,
    parse_engine_section,
    read_engine_section,
)
from cpuprobe.code.walk import artifact_functions
from cpuprobe.evidence.installed import installed_version
from cpuprobe.facts.wasmtime import UnknownWasmtimeError
from cpuprobe.wasm.introspect import known_flags

# Written out by hand from the postcard and bincode specifications: an opt_level "speed", an 8-bit
# number 12, has_avx on, has_apx off. What follows the flags (tunables) is of no interest.
POSTCARD = (
    b"\x00\x0250"  # layout version, then the text "50"
    b"\x18x86_64-unknown-linux-gnu"
    b"\x02\x09opt_level\x00\x05speed\x10probestack_size_\x01\x0c"
    b"\x02\x07has_avx\x02\x01\x07has_apx\x02\x00"
    b"\xff\xff\xff"
)
BINCODE = (
    b"\x00\x0614.0.0"
    b"\x18\0\0\0\0\0\0\0x86_64-unknown-linux-gnu"
    b"\x02\0\0\0\0\0\0\0"
    b"\x09\0\0\0\0\0\0\0opt_level\0\0\0\0\x05\0\0\0\0\0\0\0speed"
    b"\x10\0\0\0\0\0\0\0probestack_size_\x01\0\0\0\x0c"
    b"\x02\0\0\0\0\0\0\0"
    b"\x07\0\0\0\0\0\0\0has_avx\x02\0\0\0\x01"
    b"\x07\0\0\0\0\0\0\0has_apx\x02\0\0\0\x00"
    b"\xff\xff\xff"
)
SHARED: dict[str, FlagValue] = {"opt_level": "speed", "probestack_size_": 12}
ISA: dict[str, FlagValue] = {"has_avx": True, "has_apx": False}
TARGET = "x86_64-unknown-linux-gnu"


def elf(section: bytes, name: bytes = ENGINE_SECTION.encode(), order: str = "<") -> bytes:
    """The smallest ELF file with one named section; System V ABI, chapter 4."""
    names = b"\0" + name + b"\0.shstrtab\0"
    body = 64
    table = body + len(section) + len(names)
    ident = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + b"\x01" + bytes(9)
    header = struct.pack(
        order + "16sHHIQQQIHHHHHH", ident, 1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2
    )
    row = order + "IIQQQQIIQQ"
    headers = (
        bytes(64)
        + struct.pack(row, 1, 1, 2, 0, body, len(section), 0, 0, 1, 0)
        + struct.pack(row, 2 + len(name), 3, 0, 0, body + len(section), len(names), 0, 0, 1, 0)
    )
    return header + section + names + headers


@pytest.mark.parametrize(("data", "version"), [(POSTCARD, "50"), (BINCODE, "14.0.0")])
def test_both_encodings_give_the_same_flags(data: bytes, version: str) -> None:
    assert parse_engine_section(data) == EngineSection(version, TARGET, SHARED, ISA)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_section_is_found_in_an_elf_file(order: str) -> None:
    assert read_engine_section(elf(POSTCARD, order=order)).isa_flags == ISA


def test_order_of_the_flags_is_kept() -> None:
    assert list(parse_engine_section(POSTCARD).isa_flags) == ["has_avx", "has_apx"]


@pytest.mark.parametrize("data", [POSTCARD, BINCODE])
def test_every_cut_is_an_error_of_one_line(data: bytes) -> None:
    for size in range(len(data) - 3):
        with pytest.raises(ArtifactError) as caught:
            parse_engine_section(data[:size])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends too early"),
        (b"\x01\x0250", "unknown layout version 1"),
        (b"\x00\xff50", "ends too early"),
        (b"\x00\x02\x1b[" + POSTCARD[4:], "the version is not plain text"),
        (POSTCARD.replace(b"linux", b"li\x07ux"), "the target is not plain text"),
        (POSTCARD.replace(b"has_avx\x02\x01", b"has_avx\x02\x02"), "neither true nor false"),
        (POSTCARD.replace(b"has_avx\x02", b"has_avx\x03"), "unknown kind 3"),
        (POSTCARD.replace(b"has_apx", b"has_avx"), "has_avx occurs twice"),
        (POSTCARD[:4] + b"\xff" * 9 + b"\x7f", "longer than 64 bits"),
        (POSTCARD[:4] + b"\xff" * 20, "longer than 64 bits"),
        (POSTCARD[:4] + b"\xff\xff\xff\xff\x0f", "the target of 4294967295 bytes"),
        (POSTCARD[:29] + b"\xff\xff\xff\xff\x0f", "4294967295 shared flags"),
        (BINCODE[:40] + b"\xff" * 8, "18446744073709551615 shared flags"),
    ],
)
def test_damage_is_named(data: bytes, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        parse_engine_section(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an ELF file"),
        (b"\0asm\x01\0\0\0" + bytes(64), "not an ELF file"),
        (b"\x7fELF\x01\x01" + bytes(64), "not a 64-bit file"),
        (b"\x7fELF\x02\x03" + bytes(64), "not a 64-bit file"),
        (b"\x7fELF\x02\x01" + bytes(64), "0 sections .wasmtime.engine"),
        (elf(POSTCARD, name=b".text"), "0 sections .wasmtime.engine"),
        (elf(POSTCARD)[:-1], "section-header table reaches past the end"),
    ],
)
def test_what_is_not_an_artifact_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_engine_section(data)


def test_a_section_outside_the_file_is_refused() -> None:
    data = bytearray(elf(POSTCARD))
    table = struct.unpack_from("<Q", data, 40)[0]
    struct.pack_into("<Q", data, table + 64 + 32, 2**63)

    with pytest.raises(ArtifactError, match="section 1 reaches past the end"):
        read_engine_section(bytes(data))


def test_a_name_outside_the_string_table_is_none() -> None:
    data = bytearray(elf(POSTCARD))
    table = struct.unpack_from("<Q", data, 40)[0]
    struct.pack_into("<I", data, table + 64, 10_000)

    with pytest.raises(ArtifactError, match=r"0 sections \.wasmtime"):
        read_engine_section(bytes(data))


def read_all(data: bytes) -> None:
    read_engine_section(data)
    list(artifact_functions(data))
    [(section.name, section.data) for section in read_sections(data)]


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for damaged in (data, elf(data), b"\0\x0250" + data):
        try:
            read_all(damaged)
        except ArtifactError as error:
            assert "\n" not in str(error)
        try:
            parse_engine_section(damaged)
        except ArtifactError as error:
            assert "\n" not in str(error)


@given(st.data())
def test_a_flipped_byte_raises_nothing_else(data: st.DataObject) -> None:
    artifact = bytearray(elf(POSTCARD))
    position = data.draw(st.integers(0, len(artifact) - 1))
    artifact[position] = data.draw(st.integers(0, 255))
    try:
        read_all(bytes(artifact))
    except ArtifactError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(("folders", "version"), [(["wasmtime-7.0.0"], "7.0.0"), ([], None)])
def test_the_version_is_read_beside_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folders: list[str], version: str | None
) -> None:
    (tmp_path / "wasmtime").mkdir()
    (tmp_path / "wasmtime" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "wasmtime_extras-9.9.9.dist-info").mkdir()
    for folder in folders:
        (tmp_path / f"{folder}.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    assert installed_version() == version


def test_known_flags_by_major_and_by_full_version() -> None:
    """16 flags up to 26; cranelift/native/src/lib.rs at the tags: CMPXCHG16B in 27, VNNI in 48."""
    assert known_flags("50.0.1") == known_flags("50")
    assert len(known_flags("14")) == 16
    assert set(known_flags("27")) - set(known_flags("25")) == {"has_cmpxchg16b"}
    assert set(known_flags("48")) - set(known_flags("47")) == {"has_avx_vnni", "has_avx512vnni"}
    assert set(known_flags("50")) - set(known_flags("49")) == {"has_apx"}


@pytest.mark.parametrize("version", ["0", "26", "999", "", "fifty", "²", "-50", "50x"])
def test_unknown_versions_are_refused_with_the_known_ones(version: str) -> None:
    with pytest.raises(UnknownWasmtimeError, match=r"known majors: 3 4 5 .* 50$"):
        known_flags(version)
