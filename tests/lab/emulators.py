"""The two emulators of aarch64, their models, and what they are known to be wrong about.

The claims and the instructions of a model were held together with tests/lab/guest/oracle.c: QEMU
7.2.22 (Debian 12) and 10.0.13 (Debian 13).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab import packages
from tests.lab.architecture import AARCH64
from tests.lab.common import tool

_MODELS = (
    "cortex-a35",
    "cortex-a53",
    "cortex-a57",
    "cortex-a72",
    "cortex-a76",
    "neoverse-n1",
    "a64fx",
    "max",
)
_LATER = ("cortex-a55", "cortex-a710", "neoverse-v1", "neoverse-n2")


@dataclass(frozen=True)
class Emulator:
    """A version of qemu-aarch64.

    Attributes:
        version: QEMU's, as far as it matters.
        models: values of -cpu.
        faults: features that ID registers and AT_HWCAP claim and whose instruction is undefined.
        unlisted: features that ID registers claim and AT_HWCAP does not; their instruction runs.
        unclaimed: features that neither claims, whose instruction runs on some models.
        wrong: features whose instructions run and compute something else.
    """

    version: str
    models: tuple[str, ...]
    faults: frozenset[str]
    unlisted: frozenset[str]
    unclaimed: Mapping[str, frozenset[str]]
    wrong: frozenset[str]

    @property
    def path(self) -> Path:
        """The program; LabMissing if it cannot be had."""
        return Path(tool(*AARCH64.user)) if self.version == "7.2" else packages.qemu_10()


EMULATORS = (
    Emulator(
        "7.2",
        _MODELS,
        faults=frozenset({"ccpp", "ccdp"}),
        unlisted=frozenset({"dit", "ssbs"}),
        unclaimed={"cortex-a76": frozenset({"ssbs"})},
        wrong=frozenset({"smei8i32"}),
    ),
    Emulator(
        "10",
        _MODELS + _LATER,
        faults=frozenset(),
        unlisted=frozenset({"ssbs", "ecv", "wfxt"}),
        unclaimed={name: frozenset({"ssbs"}) for name in ("cortex-a76", "cortex-a55")},
        wrong=frozenset(),
    ),
)

MODELS = [(emulator, model) for emulator in EMULATORS for model in emulator.models]
