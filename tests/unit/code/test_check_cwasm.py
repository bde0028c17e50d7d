"""Artifacts of the installed wasmtime: its refusals are predicted word for word."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("iced_x86")
pytest.importorskip("wasmtime")

from tests.needs import parse_needs
from tests.required import required

from cpuprobe.assessment import assess
from cpuprobe.check.against import machine, within
from cpuprobe.check.judge import Fit, judge
from cpuprobe.code.elf import ArtifactError
from cpuprobe.evidence.measure import observe
from cpuprobe.facts.profiles import find_profile
from cpuprobe.wasm.children import ChildError, run_script

COMPILE = """\
import json, sys
from wasmtime import Config, Engine, Module
config = Config()
flags = json.loads(sys.argv[1])
if flags:
    config.target = "x86_64-unknown-linux-gnu"
for flag, value in flags.items():
    config.cranelift_flag_set(flag, "true" if value else "false")
sys.stdout.buffer.write(Module(Engine(config), sys.argv[2]).serialize())
"""
LOAD = """\
import base64, json, sys
from wasmtime import Engine, Module, WasmtimeError
said = []
for artifact in json.load(sys.stdin):
    try:
        Module.deserialize(Engine(), base64.b64decode(artifact))
        said.append("")
    except WasmtimeError as error:
        said.append(str(error))
print(json.dumps(said))
"""
SIMD = """(module (func (export "f") (param v128 v128) (result v128)
  local.get 0 local.get 1 i32x4.add))"""
POPCNT = '(module (func (export "f") (param i64) (result i64) local.get 0 i64.popcnt))'


def compiled(wat: str, flags: str = "{}") -> bytes:
    """An artifact; where this CPU lacks a flag, wasmtime refuses it, and compiles on another."""
    try:
        return b"".join(run_script(COMPILE, [flags, wat]))
    except ChildError as error:
        if "not available on the host" not in str(error):
            raise
    python = Path(sys.prefix) / "bin" / "python"
    command: list[str | Path] = [
        required("qemu-x86_64"),
        "-cpu",
        "Haswell",
        python,
        "-c",
        COMPILE,
    ]
    return subprocess.run(
        [*command, flags, wat], stdout=subprocess.PIPE, check=True, timeout=120
    ).stdout


def all_loaded(artifacts: list[bytes]) -> list[str]:
    """What wasmtime says to each, empty if it loads it; in a child, which it may abort."""
    asked = json.dumps([base64.b64encode(artifact).decode() for artifact in artifacts])
    child = subprocess.run(
        [sys.executable, "-c", LOAD], input=asked, capture_output=True, text=True, timeout=60
    )
    assert child.returncode == 0, child.stderr
    said: list[str] = json.loads(child.stdout)
    return said


def loaded(artifact: bytes) -> str:
    """The same for one."""
    return all_loaded([artifact])[0]


def here(artifact: bytes) -> Fit:
    observation = observe()
    against = machine("this machine", observation)
    return judge("a.cwasm", parse_needs(artifact), against)


def on(artifact: bytes, name: str) -> Fit:
    against = within(find_profile(name))
    assert against is not None
    return judge("a.cwasm", parse_needs(artifact), against)


def with_flag(artifact: bytes, flag: bytes) -> bytes:
    """The artifact with one flag on: its value is the byte behind the name and the kind, 2."""
    at = artifact.index(flag + b"\x02") + len(flag) + 1
    return artifact[:at] + b"\x01" + artifact[at + 1 :]


@pytest.fixture(scope="module")
def plain() -> bytes:
    return compiled(POPCNT)


def test_an_artifact_of_this_host_loads(plain):
    fit = here(plain)

    assert loaded(plain) == ""
    assert (fit.expectation, fit.message) == ("runs", None)


def test_another_version_is_refused(plain):
    at = plain.index(b"\x18x86_64-unknown") - 2
    other = plain[:at] + b"49" + plain[at + 2 :]
    fit = here(other)

    assert (fit.expectation, fit.fits) == ("refused", False)
    assert fit.message is not None
    assert fit.message in loaded(other)


def test_flags_that_the_host_lacks_are_refused(plain):
    """Each flag that is off here: the prediction is what wasmtime says, or both take it."""
    engine = parse_needs(plain).engine
    assert engine is not None
    observation = observe()
    flags = assess(observation).cranelift
    lacking = [flag for flag in flags if flag not in engine.flags]
    changed = [with_flag(plain, flag.encode()) for flag in lacking]
    for flag, altered, said in zip(lacking, changed, all_loaded(changed), strict=True):
        fit = here(altered)
        assert (fit.message is None) == (said == ""), (flag, said)
        if fit.message is not None:
            assert fit.message in said
            assert fit.expectation == "refused"
    assert "has_apx" in lacking


def test_of_two_bad_flags_the_first_is_named(plain):
    altered = with_flag(with_flag(plain, b"has_apx"), b"has_avx_vnni")
    fit = here(altered)

    assert fit.message is not None
    assert fit.message in loaded(altered)


def test_an_unknown_flag_is_refused(plain):
    altered = with_flag(plain.replace(b"has_popcnt", b"has_popcnX"), b"has_popcnX")
    fit = here(altered)

    assert fit.message is not None
    assert fit.message in loaded(altered)


def test_what_the_code_uses_is_told():
    """i64.popcnt with has_popcnt is POPCNT; without the flag there is none."""
    with_it = parse_needs(compiled(POPCNT, '{"has_sse42": true, "has_popcnt": true}'))
    without = parse_needs(compiled(POPCNT, '{"has_popcnt": false}'))

    assert list(with_it.features) == ["popcnt"]
    assert "wasm[0]::function[0]" in with_it.features["popcnt"].places[0].name
    assert with_it.engine is not None and with_it.engine.beyond == ()
    assert without.features == {}


@pytest.mark.parametrize(
    ("operator", "flag", "feature"), [("ctz", "has_bmi1", "bmi"), ("clz", "has_lzcnt", "lzcnt")]
)
def test_what_runs_as_something_else_is_a_need_of_compiled_wasm(operator, flag, feature):
    """TZCNT of zero is 64, BSF leaves what was there: Cranelift relies on the former."""
    text = f"(module (func $f (param i64) (result i64) local.get 0 i64.{operator}))"
    needs = parse_needs(compiled(text, json.dumps({flag: True})))

    assert [each.name for each in needs.features[feature].places] == ["wasm[0]::function[0]::f"]
    assert [each.features for each in needs.functions if each.name.endswith("::f")] == [
        {feature: 1}
    ]
    assert feature not in parse_needs(compiled(text, json.dumps({flag: False}))).features
    lies = with_flag(compiled(text, json.dumps({flag: False})), flag.encode())
    assert on(lies, "x86-64-v3").expectation == "runs"
    assert on(lies, "x86-64-v2").expectation == "refused"


def test_against_levels():
    """AVX code is refused on v2 by its flag, and taken on v3."""
    artifact = compiled(SIMD, '{"has_sse42": true, "has_avx": true}')

    assert "avx" in parse_needs(artifact).features
    assert on(artifact, "x86-64-v2").message == (
        'compilation setting "has_avx" is enabled, but not available on the host'
    )
    assert on(artifact, "x86-64-v3").expectation == "runs"


def test_a_flag_that_lies_does_not_hide_the_code():
    """The flag was switched off afterwards: wasmtime would load it, and it would die."""
    artifact = compiled(SIMD, '{"has_sse42": true, "has_avx": true}')
    at = artifact.index(b"has_avx\x02\x01") + 8
    lying = artifact[:at] + b"\x00" + artifact[at + 1 :]
    fit = on(lying, "x86-64-v2")

    assert (fit.expectation, fit.fits) == ("dies", False)
    assert fit.needs is not None and fit.needs.engine is not None
    assert fit.needs.engine.beyond == ("avx",)


def test_truncated_artifacts_get_one_line(plain):
    for size in range(8, len(plain), 211):
        with pytest.raises(ArtifactError) as caught:
            parse_needs(plain[:size])
        assert "\n" not in str(caught.value)
