"""The model of wasmtime's inference against the wasmtime that is installed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.fakes import V3, V4, XCR0_AVX, XCR0_AVX512, XCR0_SSE, gds_machine, group, observation

from cpuprobe.api import safe_config
from cpuprobe.assessment import assess
from cpuprobe.assessment.machine import Machine
from cpuprobe.assessment.std_detect_x86_64 import std_detect
from cpuprobe.evidence.installed import installed_version
from cpuprobe.evidence.measure import observe
from cpuprobe.facts.features import load_features
from cpuprobe.facts.wasmtime import lookup
from cpuprobe.wasm.introspect import installed_flags


def detected(machine: Machine) -> frozenset[str]:
    return std_detect(machine.groups[0], machine)


def test_the_model_infers_what_the_installed_wasmtime_infers():
    """On this machine: each flag that wasmtime turned on by itself, and no other."""
    machine = Machine(observe())
    table = load_features()
    inferred = installed_flags()
    model = detected(machine)

    refused = lookup(installed_version() or "").refuses
    assert {flag: value for flag, value in inferred.items() if flag not in refused} == {
        flag: table.by_cranelift[flag].name in model for flag in inferred if flag not in refused
    }


def test_the_table_has_the_flags_of_the_installed_wasmtime():
    """profiles/wasmtime.toml and a freshly compiled artifact agree on what this version knows."""
    assert lookup(installed_version() or "").flags == tuple(installed_flags())


def test_an_engine_accepts_the_safe_config():
    """`Engine(safe_config())` compiles and runs SIMD on this machine."""
    import wasmtime

    engine = wasmtime.Engine(safe_config())
    store = wasmtime.Store(engine)
    module = wasmtime.Module(
        engine,
        """(module (func (export "f") (param i32) (result i32)
             (i32x4.extract_lane 1
               (i32x4.mul (i32x4.splat (local.get 0)) (v128.const i32x4 2 3 4 5)))))""",
    )

    function = wasmtime.Instance(store, module, []).exports(store)["f"]

    assert isinstance(function, wasmtime.Func)
    assert function(store, 7) == 21


def test_a_flag_that_the_detector_refuses_makes_the_engine_fail():
    """Why CP504 exists: a true flag that std_detect does not report is an error, not a promise."""
    flags = installed_flags()
    off = [flag for flag, value in flags.items() if not value]
    if not off:
        pytest.skip("this machine's wasmtime turned every flag on")
    program = (
        "import wasmtime; c = wasmtime.Config(); "
        f"c.cranelift_flag_set({off[0]!r}, 'true'); wasmtime.Module(wasmtime.Engine(c), '(module)')"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)

    assert result.returncode != 0
    assert off[0].encode() in result.stderr


@pytest.mark.parametrize(
    ("features", "xcr0", "expected", "denied"),
    [
        (V3, XCR0_AVX, ("avx", "avx2", "fma", "bmi", "bmi2", "lzcnt"), ()),
        # SKL052: an Intel CPU without usable AVX gets no BMI; F16C is not gated at all.
        (V3, XCR0_SSE, ("lzcnt", "popcnt", "f16c"), ("avx", "avx2", "fma", "bmi", "bmi2")),
        (V4, XCR0_AVX, ("avx2",), ("avx512f", "avx512vl")),
        (V4, XCR0_AVX512, ("avx512f", "avx512vl"), ()),
        # AVX-512 wants FMA and F16C beside it.
        (
            tuple(name for name in V4 if name != "fma"),
            XCR0_AVX512,
            ("avx2",),
            ("avx512f", "avx512vl"),
        ),
    ],
    ids=["v3", "no-ymm", "no-zmm", "v4", "no-fma"],
)
def test_the_detectors_rules(features, xcr0, expected, denied):
    """The rules of std_detect's source, on built machines."""
    found = detected(Machine(observation(group(features, xcr0=xcr0))))

    assert set(expected) <= found
    assert not found & set(denied)


def test_the_detector_asks_for_osxsave_where_xcr0_is_not_told():
    """Of a capture without XCR0 it would report AVX, but not where CR4.OSXSAVE is known to be 0."""
    for osxsave in (True, False):
        told = group(V3, xcr0=None, executed=False, osxsave=osxsave)

        assert ("avx" in detected(Machine(observation(told)))) is osxsave


def test_bmi_is_hidden_on_intel_only():
    """SKL052 names Intel; an AMD CPU without AVX keeps BMI."""
    from tests.fakes import AMD, ZEN4

    machine = Machine(
        observation(
            group(V3, xcr0=XCR0_SSE, vendor=AMD, signature=ZEN4), vendor=AMD, signature=ZEN4
        )
    )

    assert {"bmi", "bmi2"} <= detected(machine)


def test_cp504_on_a_gds_machine_matches_the_flags():
    """Every feature of CP504 is usable, and its flag is off for that reason."""
    assessment = assess(gds_machine(), "50")
    finding = next(each for each in assessment.findings if each.code == "CP504")

    for name in finding.features:
        flag = load_features()[name].cranelift
        assert flag is not None
        assert assessment.features[name].safe
        assert "CP504" in assessment.cranelift_off[flag]
