"""What `flags` makes of AArch64's machines, against what wasmtime was seen to infer and know."""

from __future__ import annotations

import pytest
from tests import arm_fakes

from cpuprobe.assessment import assess
from cpuprobe.emit import choose
from cpuprobe.facts.wasmtime import known_versions, lookup

N1 = (*arm_fakes.BASE, "lse", "rdm", "fullfp16", "asimdhp", "dotprod", "rcpc")
V1 = (*N1, "pauth", "pacga", "i8mm", "bf16")
# Measured: the aarch64 wheel of wasmtime 50 under QEMU 10, the flags of an artifact of Config().
INFERRED: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "cortex-a72": (arm_fakes.BASE, set()),
    "neoverse-n1": (N1, {"has_lse", "has_fp16", "has_dotprod"}),
    "neoverse-v1": (V1, {"has_lse", "has_fp16", "has_dotprod", "has_pauth", "has_i8mm"}),
}


def flags(features: tuple[str, ...], version: str = "50", **more: object) -> dict[str, bool]:
    """The flags of a machine that has some features."""
    machine = arm_fakes.observation(arm_fakes.group(features, **more))  # type: ignore[arg-type]
    return choose([assess(machine, version)]).values


@pytest.mark.parametrize("model", INFERRED)
def test_a_sound_machine_gets_what_wasmtime_infers(model: str) -> None:
    features, on = INFERRED[model]

    assert {flag for flag, value in flags(features).items() if value} == on


def test_pointer_authentication_that_does_nothing_is_off() -> None:
    """PACIA is a NOP where it is missing: nothing faults, only the value says so."""
    found = flags(V1, outcomes={"pauth": "wrong"})

    assert (found["has_pauth"], found["has_lse"]) == (False, True)


def test_only_features_that_a_version_knows_are_written() -> None:
    """How code is made (use_bti, sign_return_address) is no question of the CPU's features."""
    for major in known_versions("aarch64"):
        row = lookup(str(major), "aarch64")
        assert list(flags(V1, str(major))) == [flag for flag in row.flags if flag[:4] == "has_"]
