"""Flags of aarch64: wasmtime's dialects with its target, compilers' names, and refusals."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest
from tests import arm_fakes as arm
from tests.fakes import V3, group, observation
from tests.required import required

from cpuprobe import api
from cpuprobe.assessment import Assessment, assess
from cpuprobe.emit import FORMATS, choose, choose_alone
from cpuprobe.emit.key import beyond, cache_key
from cpuprobe.errors import UsageError
from cpuprobe.facts.aarch64 import load_levels
from cpuprobe.facts.profiles import find_profile
from cpuprobe.facts.wasmtime import lookup

LEVELS = {level.name: level.features for level in load_levels()}
N1 = (*LEVELS["armv8.2-a"], "dotprod", "fullfp16", "asimdhp", "rcpc", "aes", "pmull", "sha2")


def machine(features: tuple[str, ...]) -> Assessment:
    """A machine that has these and no more."""
    return assess(arm.observation(arm.group(features), auxv=arm.auxv(features)))


@pytest.mark.parametrize(
    ("dialect", "has"),
    [
        ("text", "has_lse=true\nhas_pauth=false\n"),
        ("cli", "--target aarch64-unknown-linux-gnu -C cranelift-has_lse=true "),
        ("clif", "target aarch64 has_lse has_pauth=false has_fp16 has_dotprod has_i8mm=false\n"),
        ("rust", 'config.target("aarch64-unknown-linux-gnu")?;'),
        ("c", 'wasmtime_config_target_set(config, "aarch64-unknown-linux-gnu")'),
        ("python", 'config.target = "aarch64-unknown-linux-gnu"'),
        # GCC's sha2 is SHA-1 as well, which this machine has not; its aes is PMULL, which it has.
        ("gcc", "-march=armv8.2-a+aes+fp16+dotprod+rcpc\n"),
        ("llvm", "-mcpu=generic -mattr=+v8.2a,+aes,+fullfp16,+dotprod,+rcpc\n"),
        ("rustc", "+neon,+crc,+lse,+rdm,+dpb,+aes,+fp16,+dotprod,+rcpc\n"),
    ],
)
def test_dialect(dialect: str, has: str) -> None:
    """What is safe, in the names of the dialect, for the right target."""
    told = FORMATS[dialect](choose([machine(N1)]))

    assert has in told
    assert "x86" not in told


def test_what_is_of_x86_says_so() -> None:
    """Every other dialect refuses, and names those that there are."""
    chosen = choose([machine(N1)])
    for dialect, write in FORMATS.items():
        try:
            write(chosen)
        except UsageError as error:
            assert f"--format {dialect} is for x86-64 only; of aarch64 there are text" in str(error)


def test_instruction_sets_do_not_mix() -> None:
    """Machines or profiles of two have no flag in common."""
    x86 = assess(observation(group(V3)))
    for given in ([machine(N1), x86], [x86, machine(N1)]):
        with pytest.raises(UsageError, match="no flag in common"):
            choose(given)
    with pytest.raises(UsageError, match="no flag in common"):
        choose([machine(N1)], profiles=[find_profile("haswell")])


def test_profile_alone() -> None:
    """What a board has, whatever any machine says."""
    chosen = choose_alone([find_profile("raspberry-pi-4")], lookup("50", "aarch64"))

    assert not any(chosen.values.values())
    assert FORMATS["gcc"](chosen) == "-march=armv8-a+crc\n"


def test_gcc_takes_every_name() -> None:
    """The line is one that GCC 12 compiles with."""
    told = FORMATS["gcc"](choose_alone([find_profile("graviton3")], lookup("50", "aarch64")))
    gcc = required("aarch64-linux-gnu-gcc")
    done = subprocess.run(
        [gcc, told.strip(), "-x", "c", "-fsyntax-only", "/dev/null"], capture_output=True, text=True
    )

    assert "+sve" in told
    assert (done.returncode, done.stderr) == (0, "")


def test_key() -> None:
    """A key of aarch64 fits where its features are safe, and nowhere on x86-64."""
    here = choose([machine(N1)])
    key = cache_key(here)

    assert key.startswith("armv8.2-a+aes+pmull+sha2+")
    assert beyond(key, here) == ()
    assert beyond(key, choose([machine(LEVELS["armv8.0-a"])])) != ()
    assert "lse" in beyond(key, choose([assess(observation(group(V3)))]))


def test_safe_config_is_for_this_machines_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine on aarch64 is not made for x86-64."""
    told: list[tuple[str, dict[str, bool]]] = []
    here = arm.observation(arm.group(N1), auxv=arm.auxv(N1))
    monkeypatch.setattr("cpuprobe.api.observe", lambda: here)
    monkeypatch.setitem(sys.modules, "wasmtime", types.SimpleNamespace(Config=object))
    monkeypatch.setattr(
        "cpuprobe.wasm.configure.set_flags", lambda config, *rest: told.append(rest)
    )

    api.safe_config()

    assert told == [("aarch64-unknown-linux-gnu", assess(here).cranelift)]
