"""The presets of each wasmtime version, as the table has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpuprobe.facts.features import load_features
from cpuprobe.facts.lint import problems
from cpuprobe.facts.presets import Preset, as_profile, preset_rows, presets
from cpuprobe.facts.profiles import built_in_profiles
from cpuprobe.facts.wasmtime import UnknownWasmtimeError, known_versions, lookup

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


FOUND = presets("50.0.1")


def test_presets_are_those_of_craneliftss_source():
    """Names and flags, held against the source they are compiled from."""
    assert len(FOUND) == 67
    for name, on in EXPECTED.items():
        assert {flag for flag, value in FOUND[name].flags.items() if value} == set(on), name


def test_every_preset_knows_every_flag_of_its_release():
    """In the release's own order; and it turns on no flag that the release does not know."""
    releases = {major: rows for majors, rows in preset_rows() for major in majors}
    assert set(releases) == set(known_versions())
    for major, rows in releases.items():
        flags = lookup(str(major)).flags
        for name, preset in presets(str(major)).items():
            assert tuple(preset.flags) == flags, (major, name)
            on = [flag.removeprefix("has_") for flag, value in preset.flags.items() if value]
            assert sorted(on) == sorted(rows[name][1].split()), (major, name)


def test_the_incoherent_presets_are_found():
    """Fifteen of them, found by the table of features and by nothing else."""
    found = {name: wrong for name, p in FOUND.items() if (wrong := problems(as_profile(p, "50")))}

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


def test_a_release_that_the_table_has_not():
    """Named with those it has."""
    with pytest.raises(UnknownWasmtimeError, match=r"'999.0' is not in the table; known majors: 3"):
        presets("999.0")


def test_a_preset_as_a_profile():
    """The features behind the flags that are on."""
    flags = {"has_avx": True, "has_avx2": False, "has_sse41": True}
    profile = as_profile(Preset("made", "made for a test", flags), "50.0.1")

    assert profile.features == {"avx", "sse4.1"}
    assert (profile.kind, profile.origin) == ("preset", "wasmtime 50.0.1")
    assert {each.name for each in load_features().by_cranelift.values()} >= profile.features


def test_no_preset_has_more_than_its_cpu():
    """Presets leave flags off; a flag too many would be worse, and there is none."""
    table = load_features().by_cranelift
    compared = 0
    for profile in built_in_profiles().values():
        if profile.preset is not None:
            flags = FOUND[profile.preset].flags
            assert {table[flag].name for flag, on in flags.items() if on} <= profile.features
            compared += 1
    assert compared > 10


def test_what_the_core_says_of_known_releases_is_the_table() -> None:
    """Its refusal of `--wasmtime` and the header's words, which are typed by hand."""
    known = sorted(known_versions())
    between = " and ".join(str(n) for n in range(known[0], known[-1]) if n not in known)
    told = f"{known[0]} to {known[-1]}"
    root = Path(__file__).parents[3]

    assert f'; {told} are known, but {between}"' in (root / "native/main.c").read_text()
    header = (root / "native/library/cpuprobe.h").read_text()
    assert f" * wasmtime_major: {told}, but {between} (which PyPI never had); 0 is the" in header
    page = (root / "docs/embedding.md").read_text()
    assert f"a version from {told}, but {between}, which PyPI never had" in page
