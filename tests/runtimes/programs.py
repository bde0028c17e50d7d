"""What these tests share: where the programs are, and the settings that are tried on them."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence

import pytest

from cpuprobe.assessment import assess
from cpuprobe.emit import FORMATS, FlagSet, choose
from cpuprobe.evidence.measure import observe
from cpuprobe.facts.features import load_features
from tests.fakes import gds_machine, group, observation


def program(name: str, *patterns: str) -> str:
    """The path of a program, from PATH or from shell patterns; skips the test if there is none."""
    found = shutil.which(name) or next(
        (path for each in patterns for path in glob.glob(each)), None
    )
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def downfall() -> FlagSet:
    """The flags of a machine that claims AVX, F16C, FMA and AVX2 and can use none of them."""
    return choose([assess(gds_machine(), "50")])


def here(*without: str) -> FlagSet:
    """This machine's flags; the test is skipped if the machine has nothing of what is given up."""
    observed = assess(observe(), "50")
    for name in without:
        if not observed.features[name].safe:
            pytest.skip(f"{name} is not safe on this machine: nothing to give up")
    return choose([observed], without=without)


def everything(missing: Iterable[str] = (), *, without: Sequence[str] = ()) -> FlagSet:
    """The flags of a machine that has every feature of the table but `missing`."""
    has = [name for name in load_features() if name not in set(missing)]
    machine = observation(group(has, xcr0=0x602E7 | 1 << 19), listed=has)
    return choose([assess(machine, "50")], without=without)


def words(dialect: str, flags: FlagSet) -> list[str]:
    """The setting as command-line arguments."""
    return FORMATS[dialect](flags).split()


def environment(dialect: str, flags: FlagSet) -> dict[str, str]:
    """The setting as environment variables; the test's own environment lies under them."""
    return with_settings(FORMATS[dialect](flags).split())


def with_settings(settings: Iterable[str]) -> dict[str, str]:
    """The environment with `NAME=value` words added."""
    added = dict(word.split("=", 1) for word in settings)
    return {**os.environ, **added}


def output(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    text: str | None = None,
    seconds: float = 120,
) -> str:
    """What a program prints to standard output; fails the test if it fails or complains."""
    result = subprocess.run(
        command, env=env, input=text, capture_output=True, text=True, timeout=seconds
    )
    assert result.returncode == 0, (command, result.stderr[-2000:])
    return result.stdout
