"""The tool that measures presets, the table against the installed wasmtime, and their effect."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tools.measure_wasmtime import Unmeasurable
from tests.tools.presets import (
    Preset,
    ask,
    confirm,
    library,
    read_presets,
    render,
    rows_of,
)

from cpuprobe.evidence.installed import installed_version, package_folder
from cpuprobe.facts import presets as facts
from cpuprobe.facts.tables import parse_toml
from cpuprobe.facts.wasmtime import UnknownWasmtimeError, known_versions
from cpuprobe.wasm.children import ChildError
from cpuprobe.wasm.effect import effect
from cpuprobe.wasm.introspect import known_flags

VERSION = installed_version()
FOLDER = package_folder() or ""

needs_wasmtime = pytest.mark.skipif(VERSION is None, reason="no wasmtime")


@needs_wasmtime
def test_the_table_is_what_the_installed_library_says():
    """Read anew from its own tables."""
    assert VERSION is not None
    try:
        known = facts.presets(VERSION)
    except UnknownWasmtimeError:
        pytest.skip(f"profiles/presets.toml has no wasmtime {VERSION} yet")
    found = read_presets(library(FOLDER))

    assert {name: (each.description, each.flags) for name, each in known.items()} == found


@needs_wasmtime
def test_wasmtime_confirms_what_its_library_says():
    """Every preset compiles with just these flags, or is refused with a word about one of them."""
    found = read_presets(library(FOLDER))
    answers = ask(FOLDER, found)

    confirm(found, answers)
    assert set(answers) == {"", *found}
    baseline = answers["baseline"]
    assert isinstance(baseline, dict) and not baseline["has_avx"]  # every host can


NEHALEM = Preset("", {"has_sse42": True, "has_avx": False})


def test_a_contradiction_is_an_error():
    """If wasmtime compiled otherwise than the tables say, neither would be believed."""
    nothing = {"has_sse42": False, "has_avx": False}
    confirm({"nehalem": NEHALEM}, {"": nothing, "nehalem": NEHALEM.flags})
    with pytest.raises(Unmeasurable, match=r"otherwise .* say: has_avx, has_sse42$"):
        lie = {"has_sse42": False, "has_avx": True}
        confirm({"nehalem": NEHALEM}, {"": nothing, "nehalem": lie})
    # wasmtime 18 infers all the same.
    confirm(
        {"nehalem": NEHALEM},
        {"": {**nothing, "has_avx": True}, "nehalem": {"has_sse42": True, "has_avx": True}},
    )


def test_a_refusal_has_to_name_a_flag_of_the_preset():
    """Any other refusal is a surprise, and said to be one."""
    words = 'compilation setting "has_sse42" is enabled, but not available on the host'
    confirm({"nehalem": NEHALEM}, {"": {}, "nehalem": words})
    for other in (words.replace("sse42", "avx"), "out of memory"):
        with pytest.raises(Unmeasurable, match="wasmtime refuses its preset nehalem"):
            confirm({"nehalem": NEHALEM}, {"": {}, "nehalem": other})
    confirm({"nehalem": NEHALEM}, {})  # before 14 there is no call


def test_the_table_has_the_differences_between_releases(monkeypatch: pytest.MonkeyPatch):
    """What is written is read back the same, release by release."""
    one = {"a": ("about a", "sse3"), "b": ("about b", "sse3 avx")}
    two = {"a": ("about a", "sse3"), "c": ("about c", "")}
    made = parse_toml(render({50: one, 49: one, 48: two}).encode(), "made")
    monkeypatch.setattr(facts, "load_table", {"presets": made}.__getitem__)

    assert list(facts.preset_rows()) == [([50, 49], one), ([48], two)]
    assert list(made["wasmtime"][1]["presets"]) == ["c"]
    assert set(known_versions()) >= {50, 49, 48}


def test_files_that_are_no_library_of_wasmtime(tmp_path: Path):
    """Another program, text, nothing, a missing file: one line, no presets."""
    for content in (b"", b"\x7fELF", b"text" * 1000, Path("/bin/true").read_bytes()):
        path = tmp_path / "lib.so"
        path.write_bytes(content)
        with pytest.raises(Unmeasurable, match=r"lib\.so"):
            read_presets(path)
    with pytest.raises(Unmeasurable, match=r"cannot read gone\.so: No such file"):
        read_presets(tmp_path / "gone.so")


# A library in little: three flags in the first byte, one of them on by default, one in the second,
# and two presets, of which the small one turns that flag off.
FLAGS = {"has_sse3": (0, 0), "has_popcnt": (0, 2), "has_avx": (0, 5), "has_lzcnt": (1, 3)}
DEFAULTS = bytes([4, 0])
ENTRIES = {"small": bytes([5, 1, 0, 0]), "large": bytes([0x21, 0x21, 8, 8])}
RODATA, TABLES = 0x1000, 0x8000


def little_library() -> bytes:
    """An ELF file with the tables and the relocations, and nothing else."""
    texts, tables, pointers = bytearray(), bytearray(), bytearray()

    def put(text: bytes) -> int:
        texts.extend(text)
        return RODATA + len(texts) - len(text)

    def slice_of(target: int, length: int) -> None:
        pointers.extend(struct.pack("<QQQ", TABLES + len(tables), 8, target))
        tables.extend(struct.pack("<QQ", 0, length))

    rows = [(name, byte, 0, bit) for name, (byte, bit) in FLAGS.items()]
    rows += [(name, 2 * number, 3, 0) for number, name in enumerate(ENTRIES)]
    for name, offset, kind, bit in rows:
        for text in (name, f"about {name}"):
            slice_of(put(text.encode()), len(text))
        tables.extend(struct.pack("<IBBH", offset, kind, bit, 0))
    slice_of(put(b"x86"), 3)
    slice_of(TABLES, len(rows))
    slice_of(RODATA, 0)
    slice_of(RODATA, 16)
    slice_of(put(DEFAULTS), 2)
    slice_of(put(b"".join(ENTRIES.values())), 4)
    names = b"\0.rodata\0.data.rel.ro\0.rela.dyn\0.shstrtab\0"
    parts = [
        (1, 1, RODATA, bytes(texts)),
        (9, 1, TABLES, bytes(tables)),
        (22, 4, 0, bytes(pointers)),
        (32, 3, 0, names),
    ]
    body, headers = b"", bytes(64)
    for at_name, kind, address, data in parts:
        at = 64 + len(body)
        headers += struct.pack("<IIQQQQIIQQ", at_name, kind, 2, address, at, len(data), 0, 0, 1, 0)
        body += data
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    start = 64 + len(body)
    return struct.pack("<16sHHIQQQIHHHHHH", head, 3, 62, 1, 0, 0, start, 0, 64, 0, 0, 64, 5, 4) + (
        body + headers
    )


def test_the_tables_of_a_library_in_little(tmp_path: Path):
    """Masks and values of each preset on top of the defaults, by byte and bit."""
    path = tmp_path / "lib.so"
    path.write_bytes(little_library())

    found = read_presets(path)
    assert {name: preset.flags for name, preset in found.items()} == {
        "small": dict(zip(FLAGS, (True, False, False, False), strict=True)),
        "large": dict(zip(FLAGS, (True, True, True, True), strict=True)),
    }
    assert found["large"].description == "about large"


@given(st.data())
def test_damaged_libraries(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    """Any bytes changed, or the end cut off: an error of one line, or presets, a row each at most.

    A changed kind makes a preset of a flag.
    """
    content = bytearray(little_library())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.sampled_from((0, 1, 3, 8, 0x7F, 0x80, 0xFF)))
    path = tmp_path_factory.getbasetemp() / "damaged.so"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])

    try:
        found = read_presets(path)
    except Unmeasurable as error:
        assert "\n" not in str(error)
    else:
        assert 0 < len(found) <= len(FLAGS) + len(ENTRIES)


def test_a_row_of_the_table():
    """Cranelift's words and the names of the flags."""
    assert rows_of({"nehalem": Preset("words", NEHALEM.flags)}) == {"nehalem": ("words", "sse42")}


@pytest.mark.slow
@needs_wasmtime
def test_the_effect_of_an_incoherent_preset():
    """AVX2 and FMA without AVX do nothing; what is coherent is not called idle.

    Cranelift uses has_avx2 and has_fma only together with has_avx (use_avx2 and use_fma in
    cranelift/codegen/src/isa/x64/lower/isle.rs at e6b33de).
    """
    table = facts.presets("50")
    off = dict.fromkeys(known_flags("50"), False)
    flags = known_flags(VERSION)

    def made(on: dict[str, bool]) -> facts.Preset:
        return facts.Preset("made", "", {flag: bool(on.get(flag)) for flag in flags})

    try:
        coherent = effect(made(table["x86-64-v2"].flags))
        assert (coherent.idle, coherent.used, coherent.off) == ((), (), ())
        found = effect(made(table["x86-64-v3"].flags))
    except ChildError as error:
        pytest.skip(str(error))  # this host has no AVX2
    assert set(found.idle) == {"has_avx2", "has_fma"}
    assert (found.used, found.off) == ((), ())
    found = effect(made({**off, "has_avx": True}))
    assert (found.idle, found.used) == ((), ("avx",))
    assert found.off == ("sse3", "ssse3", "sse4.1", "sse4.2")
