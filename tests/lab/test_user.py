"""The user-mode emulator, and what QEMU says its models have."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import pytest

from tests.lab.common import LabError
from tests.lab.programs import Runnable
from tests.lab.user import machine_features, model_features, models, run_user

# CPUID.01H:ECX bits by QEMU's names (SDM vol. 2A, CPUID, table 3-10); bit 27, OSXSAVE, is no
# property of a model.
LEAF1_ECX = {
    0: "pni",
    1: "pclmulqdq",
    9: "ssse3",
    12: "fma",
    13: "cx16",
    19: "sse4.1",
    20: "sse4.2",
}
LEAF1_ECX |= {
    22: "movbe",
    23: "popcnt",
    25: "aes",
    26: "xsave",
    28: "avx",
    29: "f16c",
    30: "rdrand",
}
LEAF7_EBX = {
    3: "bmi1",
    5: "avx2",
    8: "bmi2",
    16: "avx512f",
    17: "avx512dq",
    18: "rdseed",
    19: "adx",
    31: "avx512vl",
}


@pytest.mark.lab
def test_models_are_many_and_64_bit() -> None:
    """Well-known names are there; models without long mode and the KVM-only one are not."""
    names = models()

    assert {"Nehalem", "Haswell", "Skylake-Client", "EPYC", "Opteron_G3", "qemu64", "max"} <= set(
        names
    )
    assert not {"486", "pentium3", "qemu32", "kvm32", "athlon", "host", "base"} & set(names)
    assert len(names) >= 100


@pytest.mark.lab
def test_model_features_agree_with_cpuid(probe: Runnable) -> None:
    """For every model, QEMU's answer is what a program under it reads from CPUID."""
    wrong = []
    for model in models():
        seen = json.loads(run_user(model, probe.user_argv).stdout)
        on = model_features(model)
        for key, bits in (("leaf1_ecx", LEAF1_ECX), ("leaf7_ebx", LEAF7_EBX)):
            word = int(seen[key], 16)
            wrong += [
                (model, name) for bit, name in bits.items() if bool(word >> bit & 1) != (name in on)
            ]

    assert wrong == []


@pytest.mark.lab
def test_what_a_model_lacks_does_not_run(probe: Runnable) -> None:
    """For every model, an instruction runs exactly where QEMU says the model has it."""
    names = {
        "avx": "avx",
        "avx2": "avx2",
        "fma": "fma",
        "f16c": "f16c",
        "bmi1": "bmi1",
        "bmi2": "bmi2",
    }
    names |= {"avx512f": "avx512f", "popcnt": "popcnt", "sse41": "sse4.1", "sse4a": "sse4a"}
    wrong = []
    for model in models():
        seen = json.loads(run_user(model, probe.user_argv).stdout)
        on = model_features(model)
        wrong += [
            (model, key)
            for key, name in names.items()
            if seen[key] != ("ok" if name in on else "sigill")
        ]

    assert wrong == []


@pytest.mark.lab
def test_machine_features_see_properties() -> None:
    """A stopped machine tells forced and removed features too."""
    forced = machine_features("Haswell,x-force-features=on,+avx512f,-bmi1")

    assert "avx512f" in forced
    assert "bmi1" not in forced
    assert {"avx512f", "bmi1"} & machine_features("Haswell") == {"bmi1"}


@pytest.mark.lab
def test_overlay_replaces_what_a_program_reads() -> None:
    """A dynamic program opens the given text, and sees the rest of the machine as it is."""
    script = "print(open('/proc/cpuinfo').read(), open('/proc/self/comm').read())"
    run = run_user("max", [Path(sys.executable), "-c", script], cpuinfo="flags : lab\n")

    assert run.status == "exit 0"
    assert b"flags : lab\n" in run.stdout


@pytest.mark.lab
def test_signal_and_exit() -> None:
    """A death by signal is told from an exit code."""
    assert run_user("max", ["/bin/sh", "-c", "kill -4 $$"]).status == "signal 4"
    assert run_user("max", ["/bin/sh", "-c", "exit 5"]).status == "exit 5"


@pytest.mark.lab
def test_a_crash_leaves_no_core_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU's core files do not pile up in the checkout, even where the limit allows them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard != resource.RLIM_INFINITY:
        pytest.skip("core files are not allowed here anyway")
    monkeypatch.chdir(tmp_path)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        run_user("max", ["/bin/sh", "-c", "kill -4 $$"])
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.lab
def test_a_hung_program_is_killed() -> None:
    """The error says which program and CPU."""
    with pytest.raises(
        LabError, match=r"/bin/sleep under -cpu max took over 0\.5 s and was killed"
    ):
        run_user("max", ["/bin/sleep", "60"], timeout=0.5)


@pytest.mark.lab
@pytest.mark.parametrize("cpu", ["Nonesuch", "Nehalem,foo=1", "Nehalem,+foo", "486"])
def test_a_refused_cpu_is_an_error(probe: Runnable, cpu: str) -> None:
    """QEMU's refusal is never taken for the program's own exit."""
    with pytest.raises(LabError, match="QEMU refuses -cpu"):
        run_user(cpu, probe.user_argv)


@pytest.mark.lab
def test_unknown_models_have_no_features() -> None:
    """A typing error is an error, not an empty set."""
    with pytest.raises(LabError, match="knows no CPU model"):
        model_features("Nonesuch")
    with pytest.raises(LabError, match="Nonesuch"):
        machine_features("Nonesuch")
