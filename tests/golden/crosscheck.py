"""Compares the model's expected results with QEMU and with this machine's CPU.

`python -m tests.golden.crosscheck build/cpuprobe-native [--qemu qemu-x86_64]` runs the executable
natively and under QEMU's user emulator and counts on which candidates each agrees with table.h. A
candidate that runs and differs is an error: exit 1. What neither implements rests on the model
alone; its features are listed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.golden.inputs import VARIANTS

# Faults that say "not implemented here"; every other outcome but ok and skipped is a difference.
_ABSENT = frozenset({"sigill", "skipped"})
_TIMEOUT = 120.0

KNOWN_DIFFERENCES = {
    ("QEMU", "vaesenc ymm0, ymm1, ymm2"): "QEMU 7.2 gets the upper half of 256-bit VAES wrong",
    (
        "QEMU",
        "vaesdec ymm0, ymm1, ymmword ptr [rsi]",
    ): "QEMU 7.2 gets the upper half wrong, as above",
    ("QEMU", "adcx eax, ecx"): "QEMU 7.2 gets the carry of the 32-bit form wrong",
    ("QEMU", "tpause ecx"): "QEMU 7.2 has no WAITPKG, yet runs it, keeping flags",
    ("QEMU", "umwait ecx"): "QEMU 7.2 has no WAITPKG, yet runs it, keeping flags",
}
"""Differences that are the other side's, by world and candidate, with the reason."""


class CrossCheckError(ValueError):
    """The executable could not be run or its output is not an observation."""


@dataclass(frozen=True)
class Run:
    """Outcomes of all candidates in one world."""

    world: str
    names: tuple[str, ...]
    features: tuple[tuple[str, ...], ...]
    outcomes: tuple[str, ...]

    def agreed(self) -> set[int]:
        """Candidates that ran with the expected result."""
        return {i for i, outcome in enumerate(self.outcomes) if outcome == "ok"}

    def differing(self) -> dict[str, str]:
        """Candidates that ran and gave something else, with their outcome."""
        pairs = zip(self.names, self.outcomes, strict=True)
        return {n: o for n, o in pairs if o != "ok" and o not in _ABSENT}


def parse(world: str, text: str) -> Run:
    """Read an observation's candidates and the outcomes on its first group of CPUs.

    Raises:
        CrossCheckError: the text is not such a document.
    """
    try:
        observation = json.loads(text)["observation"]
        candidates = observation["candidates"]
        outcomes = tuple(str(o) for o in observation["groups"][0]["ran"])
        names = tuple(str(c[0]) for c in candidates)
        features = tuple(tuple(str(f) for f in c[1]) for c in candidates)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise CrossCheckError(f"{world}: not an observation: {error!r}") from None
    if len(names) != len(outcomes):
        raise CrossCheckError(f"{world}: {len(names)} candidates but {len(outcomes)} outcomes")
    return Run(world, names, features, outcomes)


def run(world: str, command: Sequence[str]) -> Run:
    """Run the executable and read what it prints.

    Raises:
        CrossCheckError: it does not start, fails or hangs.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CrossCheckError(f"{world}: {command[0]}: {error}") from None
    if done.returncode not in (0, 1):
        raise CrossCheckError(f"{world}: exit code {done.returncode}: {done.stderr.strip()}")
    return parse(world, done.stdout)


def report(runs: Sequence[Run]) -> tuple[list[str], bool]:
    """Lines to print, and whether every candidate that ran agreed."""
    total = len(runs[0].names)
    counts = [f"{len(r.agreed())} agree with {r.world}" for r in runs]
    confirmed = set().union(*(r.agreed() for r in runs))
    alone = [i for i in range(total) if i not in confirmed]
    lines = [f"{total} candidates: " + ", ".join(counts) + f", {len(alone)} by the model alone"]
    features: dict[str, int] = {}
    for i in alone:
        key = ",".join(runs[0].features[i])
        features[key] = features.get(key, 0) + 1
    if features:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(features.items()))
        lines.append("by the model alone (no emulator or CPU here confirms them): " + listed)
    good = True
    for r in runs:
        for name, outcome in r.differing().items():
            reason = KNOWN_DIFFERENCES.get((r.world, name))
            good = good and reason is not None
            lines.append(
                f"{r.world} differs: {name}: {outcome}" + (f" ({reason})" if reason else "")
            )
    return lines, good


def main(arguments: Sequence[str] | None = None) -> int:
    """Run natively and under QEMU, print the report; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("executable", help="cpuprobe-native")
    parser.add_argument("--qemu", default="qemu-x86_64", help="QEMU's user emulator")
    options = parser.parse_args(arguments)
    try:
        repeated = [options.executable, "--repeat", str(VARIANTS)]  # every input
        runs = [run("this CPU", repeated)]
        qemu = shutil.which(options.qemu)
        if qemu:
            runs.append(run("QEMU", [qemu, "-cpu", "max", *repeated]))
        else:
            print(f"{options.qemu} is not installed: compared with this CPU only", file=sys.stderr)
    except CrossCheckError as error:
        print(error, file=sys.stderr)
        return 3
    lines, good = report(runs)
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
