"""The presets of the installed wasmtime: read from its library, confirmed by compiling."""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuprobe.errors import UsageError
from cpuprobe.evidence.installed import installed_version
from cpuprobe.facts.features import load_features
from cpuprobe.facts.profiles import built_in_profiles, problems
from cpuprobe.wasm import presets as module
from cpuprobe.wasm.introspect import IntrospectionError, known_flags
from cpuprobe.wasm.presets import (
    Preset,
    as_profile,
    effect,
    preset_flags,
    preset_names,
    presets,
    read_presets,
)

MAJOR = int((installed_version() or "0").partition(".")[0])

pytestmark = pytest.mark.skipif(MAJOR == 0, reason="no wasmtime")
recent = pytest.mark.skipif(MAJOR < 49, reason="these facts are of wasmtime 49 and later")

SSE42 = ("has_sse3", "has_ssse3", "has_sse41", "has_sse42")
V2 = (*SSE42, "has_popcnt", "has_cmpxchg16b")

# cranelift/codegen/meta/src/isa/x86.rs at e6b33de, each written out.
EXPECTED = {
    "baseline": (),
    "sse42": SSE42,
    "nehalem": V2,
    "core2": ("has_sse3", "has_cmpxchg16b"),
    "haswell": (*V2, "has_avx", "has_avx2", "has_fma", "has_bmi1", "has_bmi2", "has_lzcnt"),
    "alderlake": (*V2, "has_bmi1", "has_bmi2", "has_lzcnt", "has_fma", "has_avx_vnni"),
    "bdver4": (
        *("has_sse3", "has_ssse3", "has_lzcnt", "has_popcnt", "has_cmpxchg16b"),
        *("has_bmi1", "has_bmi2", "has_avx2"),
    ),
    "x86-64-v2": V2,
    "x86-64-v3": (*V2, "has_bmi1", "has_bmi2", "has_fma", "has_lzcnt", "has_avx2"),
    "x86-64-v4": (
        *(*V2, "has_bmi1", "has_bmi2", "has_fma", "has_lzcnt", "has_avx2"),
        *("has_avx512dq", "has_avx512vl"),
    ),
}
INCOHERENT = (
    *("alderlake", "sierraforest", "grandridge", "raptorlake", "meteorlake", "knl", "knm"),
    *("btver2", "bdver4", "znver1", "znver2", "znver3", "znver4", "x86-64-v3", "x86-64-v4"),
)


def made(flags: dict[str, bool]) -> Preset:
    return Preset("made", "made for a test", flags)


@recent
def test_presets_are_those_of_craneliftss_source():
    """Names and flags, held against the source they are compiled from."""
    found = read_presets()

    assert len(found) == 67
    for name, on in EXPECTED.items():
        flags = {flag for flag, value in found[name].flags.items() if value}
        assert flags == set(on), name
    assert preset_names() == tuple(found)
    assert preset_names()[:2] == ("sse3", "ssse3")


def test_every_preset_knows_every_flag():
    """The flags of the artifact, in its order: what another module measured."""
    for name, preset in read_presets().items():
        assert tuple(preset.flags) == known_flags(), name


@recent
def test_the_incoherent_presets_are_found():
    """Fifteen of them, found by the table of features and by nothing else."""
    found = {
        name: problems(as_profile(preset, "50"))
        for name, preset in read_presets().items()
        if problems(as_profile(preset, "50"))
    }

    assert set(found) == set(INCOHERENT)
    assert [each.text for each in found["x86-64-v3"]] == [
        "has fma without avx",
        "has avx2 without avx",
    ]
    assert [each.text for each in found["alderlake"]] == [
        "has fma without avx",
        "has avxvnni without avx, avx2",
    ]
    assert [each.text for each in found["x86-64-v4"]][2:] == [
        "has avx512dq without avx, avx512f",
        "has avx512vl without avx, avx512f",
    ]


def test_wasmtime_confirms_what_its_library_says():
    """Every preset was compiled with, or refused with a word about a flag that it turns on."""
    found = presets()

    assert list(found) == list(preset_names())
    for preset in found.values():
        assert preset.compiled is (preset.refusal is None), preset.name
    assert found["baseline"].compiled  # every host can
    assert preset_flags(["baseline", "nehalem"]) == {
        name: found[name].flags for name in ("baseline", "nehalem")
    }


def test_a_preset_that_does_not_exist_aborts_nobody():
    """wasmtime would abort the process for an unknown name: it never gets to see it."""
    with pytest.raises(UsageError, match=r"has no preset 'haswel'; did you mean haswell"):
        preset_flags(["haswel"])
    assert preset_flags([]) == {}


def test_a_contradiction_is_an_error(monkeypatch: pytest.MonkeyPatch):
    """If wasmtime compiled otherwise than the tables say, neither would be believed."""
    truth = read_presets()["nehalem"]

    monkeypatch.setattr(module, "_try", lambda names: {"nehalem": {**truth.flags}})
    assert presets(["nehalem"])["nehalem"].compiled
    lie = {**truth.flags, "has_avx": True, "has_sse42": False}
    monkeypatch.setattr(module, "_try", lambda names: {"nehalem": lie})
    with pytest.raises(IntrospectionError, match=r"otherwise .* say: has_avx, has_sse42$"):
        presets(["nehalem"])


def test_a_refusal_has_to_name_a_flag_of_the_preset(monkeypatch: pytest.MonkeyPatch):
    """Any other refusal is a surprise, and said to be one."""
    words = 'compilation setting "has_sse42" is enabled, but not available on the host'
    monkeypatch.setattr(module, "_try", lambda names: {"nehalem": words})
    found = presets(["nehalem"])["nehalem"]
    assert (found.compiled, found.refusal) == (False, words)

    for other in (words.replace("sse42", "avx"), "out of memory"):
        monkeypatch.setattr(module, "_try", lambda names, other=other: {"nehalem": other})
        with pytest.raises(IntrospectionError, match="wasmtime refuses its preset nehalem"):
            presets(["nehalem"])


def test_an_old_wasmtime_cannot_confirm(monkeypatch: pytest.MonkeyPatch):
    """Before 14 there is no call to turn a preset on; the tables can be read all the same."""
    monkeypatch.setattr(module, "_try", lambda names: {})

    assert presets(["nehalem"]) == {"nehalem": read_presets()["nehalem"]}


def test_no_wasmtime(monkeypatch: pytest.MonkeyPatch):
    """One line that says what to do."""
    monkeypatch.setattr(module, "package_folder", lambda: None)

    with pytest.raises(IntrospectionError, match="pip install wasmtime"):
        preset_names()


def test_files_that_are_no_library_of_wasmtime(tmp_path: Path):
    """Another program, text, nothing, a missing file: one line, no presets."""
    for content in (b"", b"\x7fELF", b"text" * 1000, Path("/bin/true").read_bytes()):
        path = tmp_path / "lib.so"
        path.write_bytes(content)
        with pytest.raises(IntrospectionError, match=r"lib\.so"):
            read_presets(path)
    with pytest.raises(IntrospectionError, match=r"cannot read gone\.so: No such file"):
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
    """Any bytes changed, or the end cut off: an error of one line or some presets, never more."""
    content = bytearray(little_library())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.sampled_from((0, 1, 3, 8, 0x7F, 0x80, 0xFF)))
    path = tmp_path_factory.getbasetemp() / "damaged.so"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])

    try:
        found = read_presets(path)
    except IntrospectionError as error:
        assert "\n" not in str(error)
    else:
        assert 0 < len(found) <= len(ENTRIES)


def test_a_preset_as_a_profile():
    """The features behind the flags that are on."""
    profile = as_profile(made({"has_avx": True, "has_avx2": False, "has_sse41": True}), "50.0.1")

    assert profile.features == {"avx", "sse4.1"}
    assert (profile.kind, profile.origin) == ("preset", "wasmtime 50.0.1")
    assert {each.name for each in load_features().by_cranelift.values()} >= profile.features


@recent
def test_no_preset_has_more_than_its_cpu():
    """Presets leave flags off; a flag too many would be worse, and there is none."""
    known = read_presets()
    table = load_features().by_cranelift
    compared = 0
    for profile in built_in_profiles().values():
        if profile.preset is not None:
            on = {table[flag].name for flag, on in known[profile.preset].flags.items() if on}
            assert on <= profile.features, profile.name
            compared += 1
    assert compared > 10


@pytest.mark.slow
@recent
def test_the_effect_of_an_incoherent_preset():
    """AVX2 and FMA without AVX do nothing; what is coherent is not called idle.

    Cranelift uses has_avx2 and has_fma only together with has_avx (use_avx2 and use_fma in
    cranelift/codegen/src/isa/x64/lower/isle.rs at e6b33de).
    """
    flags = dict.fromkeys(known_flags(), False)
    on = presets(["x86-64-v2"])["x86-64-v2"]
    if not on.compiled:
        pytest.skip("this host has no x86-64-v2")

    coherent = effect(msgspec.structs.replace(on, name="coherent"))
    assert (coherent.idle, coherent.used, coherent.off) == ((), (), ())
    if not presets(["haswell"])["haswell"].compiled:
        pytest.skip("this host has no AVX2")
    found = effect(made({**flags, **dict.fromkeys(EXPECTED["x86-64-v3"], True)}))
    assert found.idle == ("has_avx2", "has_fma")
    assert (found.used, found.off) == ((), ())
    found = effect(made({**flags, "has_avx": True}))
    assert (found.idle, found.used) == ((), ("avx",))
    assert found.off == ("sse3", "ssse3", "sse4.1", "sse4.2")
