"""`cpuprobe verify --module`: the proof over a module of the user's own."""

from __future__ import annotations

import json

import pytest

from cpuprobe.cli import run
from cpuprobe.errors import CaptureError
from cpuprobe.facts.features import load_levels
from cpuprobe.facts.profiles import find_profile
from cpuprobe.facts.wasmtime import lookup
from cpuprobe.wasm.module_proof import prove_module

wasmtime = pytest.importorskip("wasmtime")

POPCNT = """(module
  (func (export "f") (param i64 v128) (result i64)
    (i64.add (i64.popcnt (local.get 0)) (i64x2.extract_lane 0
      (i64x2.mul (local.get 1) (local.get 1))))))"""
COMPONENT = f"(component (core {POPCNT.removeprefix('(')})"


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "m.wat"
    path.write_text(POPCNT)
    return path


def proved(path, on, safe):
    """The proof for some flags that are on, and a set of features."""
    flags = {flag: flag in on for flag in lookup("50").flags}
    return prove_module(str(path), "50", "a set", flags, safe)


LEVEL = {level.name: level.features for level in load_levels()}
V2_FLAGS = ("has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt", "has_cmpxchg16b")


@pytest.mark.parametrize("text", [POPCNT, COMPONENT], ids=["module", "component"])
def test_flags_and_features_that_agree_are_proved(tmp_path, text):
    """A module and a component, compiled for v2: nothing but v2, POPCNT among it."""
    path = tmp_path / "m.wat"
    path.write_text(text)
    proof = proved(path, V2_FLAGS, LEVEL["x86-64-v2"])

    assert proof.verdict == "proved" and "popcnt" in proof.code.features
    assert proof.code.instructions > 20


def test_code_beyond_the_set_is_named(module, cpu_with):
    """Compiled with AVX-512 for a set without it: the instruction, where and how often."""
    flags = (*V2_FLAGS, "has_avx", "has_avx2", "has_avx512f", "has_avx512vl", "has_avx512dq")
    cpu_with("avx512dq", "avx512vl")
    proof = proved(module, flags, LEVEL["x86-64-v3"])

    assert proof.verdict == "outside"
    found = {each.form: each for each in proof.code.outside}
    (form,) = [each for each in found.values() if each.instruction.startswith("vpmullq")]
    assert set(form.features) == {"avx512dq", "avx512vl"} and form.count == 1


def test_what_is_no_module_is_an_input_error(tmp_path):
    """Exit code 4 in wasmtime's words, not a failure of the machine."""
    path = tmp_path / "m.wasm"
    path.write_bytes(b"\0asm\1\0\0\0\xff")
    with pytest.raises(CaptureError, match=r"m\.wasm"):
        proved(path, V2_FLAGS, LEVEL["x86-64-v2"])


def test_command(module, capsys, cpu_with):
    """By profile, as text and as JSON; a profile alone makes no sense."""
    assert run(["verify", "--module", str(module), "--profile", "x86-64-v1"]) == 0
    assert capsys.readouterr().out.startswith("PROVED  ")
    cpu_with("avx2")
    assert run(["verify", "--module", str(module), "--profile", "haswell", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "proved" and document["flags"]["has_avx2"] is True
    assert set(document["code"]["features"]) <= find_profile("haswell").features
    assert run(["verify", "--profile", "haswell"]) == 2
    assert run(["verify", "--module", "/nonesuch", "--profile", "haswell"]) == 4
