"""`make bench`: how long cpuprobe takes, as ratios measured side by side in one run.

The commands take turns, so that a machine that speeds up or slows down does so for all of them; the
medians are compared, never a time with a time of another day. `python -m tests.tools.bench --json`
prints the numbers for a program.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.lab.architecture import AARCH64
from tests.lab.common import LabMissing, ordinary, tool
from tests.lab.programs import native_executable
from tests.tools import native_builds, run_bench, scan_bench

CAPTURES = Path(__file__).parents[1] / "data" / "captures"
ROUNDS = 25
MANY_CPUS = 64
WARM_UP = 2

# Commands that take long, and in how many rounds they take part: py-cpuinfo sleeps by design.
FEW_ROUNDS = {"py-cpuinfo": 5, "inspect 200": 9, "inspect 200 --json": 9}

# What is compared with what, and the goal where there is one (docs/how-it-works.md, "Speed").
RATIOS = (
    ("cpuprobe --json", "python -c 'import typer'", 1.25),
    ("cpuprobe", "cpuprobe --json", 1.1),
    ("inspect 200", "inspect 200 --json", 1.2),
    ("cpuprobe --json", "py-cpuinfo", 0.1),
    ("cpuprobe-native", "lscpu", None),
    ("import cpuprobe", "python -c pass", None),
)


def commands() -> dict[str, list[str]]:
    """The commands by name; those whose program is missing here are left out."""
    python = sys.executable
    cpuprobe = str(Path(python).parent / "cpuprobe")
    captures = itertools.cycle(sorted(map(str, CAPTURES.glob("*.txt"))))
    inspect = [cpuprobe, "inspect", *itertools.islice(captures, 200)]
    found = {
        "python -c pass": [python, "-c", "pass"],
        "import cpuprobe": [python, "-c", "import cpuprobe"],
        "python -c 'import typer'": [python, "-c", "import typer"],
        "cpuprobe": [cpuprobe],
        "cpuprobe --json": [cpuprobe, "--json"],
        "inspect 200": inspect,
        "inspect 200 --json": [*inspect, "--json"],
        "py-cpuinfo": [python, "-m", "cpuinfo", "--json"],
    }
    native = Path(__file__).parents[2] / "build" / "cpuprobe-native"
    if native.exists():
        found["cpuprobe-native"] = [str(native)]
    for name, arguments in (("cpuid -r", ["-r"]), ("lscpu", [])):
        program = shutil.which(name.split()[0])
        if program is not None:
            found[name] = [program, *arguments]
    return found


def measure(found: dict[str, list[str]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of wall clock per command and round, in turns."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for number in range(WARM_UP + rounds):
        for name, command in found.items():
            if number >= WARM_UP + FEW_ROUNDS.get(name, rounds):
                continue
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if number >= WARM_UP:
                times[name].append(time.perf_counter() - start)
    return times


class NativeSpeed(NamedTuple):
    """What the static executable costs, in milliseconds of CPU time.

    CPU time, for a process that is pinned to each CPU in turn waits for whoever is busy there.

    Attributes:
        ratio: to `cpuid -r`, None where that is not installed.
        ratio_without: the same on a CPU that has neither AVX-512 nor AMX.
        further: for each further CPU, None on a machine of one.
        many: for MANY_CPUS.
        flags: of `cpuprobe-native flags` to `cpuid -r`, None where that is not installed.
        emulated: that for aarch64 to a static program that prints a line, both under qemu-aarch64;
            None where the emulator or the cross compiler is not installed.
    """

    ratio: float | None
    ratio_without: float | None
    further: float | None
    many: float
    flags: float | None
    emulated: float | None


def _under_emulation() -> dict[str, list[str]]:
    """The probe for aarch64 and what it is held against, on the model with most features."""
    try:
        emulator = [tool(*AARCH64.user), "-cpu", "max"]
        return {
            "emulated": [*emulator, str(native_executable(AARCH64))],
            "hello": [*emulator, str(ordinary("hello.c", AARCH64))],
        }
    except LabMissing:
        return {}


def native_speed(rounds: int = 4 * ROUNDS) -> NativeSpeed:
    """Takes turns at builds of cpuprobe-native and `cpuid -r`, each in many rounds."""
    cpus = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        native = str(Path(__file__).parents[2] / "build" / "cpuprobe-native")
        found = {
            "all": [native],
            "one": [native, "--cpus", str(cpus[0])],
            "flags": [native, "flags"],
            "without": [str(native_builds.without_avx512(Path(folder) / "without"))],
            "many": [str(native_builds.with_cpus(Path(folder) / "many", MANY_CPUS))],
        }
        found |= _under_emulation()
        cpuid = shutil.which("cpuid")
        if cpuid is not None:
            found["cpuid"] = [cpuid, "-r"]
        times: dict[str, list[float]] = {name: [] for name in found}
        for number in range(WARM_UP + rounds):
            for name, command in found.items():
                took = _cpu_time(command)
                if number >= WARM_UP:
                    times[name].append(took * 1000)
    medians = {name: statistics.median(each) for name, each in times.items()}
    other = medians.get("cpuid")
    return NativeSpeed(
        other and medians["all"] / other,
        other and medians["without"] / other,
        (medians["all"] - medians["one"]) / (len(cpus) - 1) if len(cpus) > 1 else None,
        medians["many"],
        other and medians["flags"] / other,
        medians["emulated"] / medians["hello"] if "hello" in medians else None,
    )


def _cpu_time(command: list[str]) -> float:
    """Seconds of CPU time that a command and its children take, its start included."""
    nothing = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    child = os.posix_spawn(command[0], command, os.environ, file_actions=[nothing])
    _, _, used = os.wait4(child, 0)
    return used.ru_utime + used.ru_stime


def _native_lines(speed: NativeSpeed) -> Iterator[str]:
    rows = (
        ("/ cpuid -r", speed.ratio, 0.8, ""),
        ("flags / cpuid -r", speed.flags, 0.8, ""),
        ("/ cpuid -r, without AVX-512", speed.ratio_without, 0.8, ""),
        ("a further CPU", speed.further, 0.7, " ms"),
        (f"{MANY_CPUS} CPUs", speed.many, 40, " ms"),
        ("aarch64, emulated / hello", speed.emulated, 2, ""),
    )
    for what, value, goal, unit in rows:
        if value is not None:
            told = "met" if value <= goal else "MISSED"
            yield f"  {what:30} {value:7.3f}{unit}  goal {goal:g}{unit}: {told}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    times = measure(commands(), options.rounds)
    medians = {name: statistics.median(each) for name, each in times.items()}
    ratios = [
        (name, other, medians[name] / medians[other], goal)
        for name, other, goal in RATIOS
        if name in medians and other in medians
    ]
    native = native_speed(4 * options.rounds)
    scanned = scan_bench.speeds()
    guarded = run_bench.speeds()
    if options.json:
        found: dict[str, object] = {
            "median_seconds": medians,
            "ratios": ratios,
            "native": native._asdict(),
        }
        found["check"] = [speed._asdict() for speed in scanned]
        found["run"] = [speed._asdict() for speed in guarded]
        json.dump(found, sys.stdout)
        return
    print(f"medians of {options.rounds} rounds, in turns, {len(os.sched_getaffinity(0))} CPUs")
    for name, median in medians.items():
        spread = statistics.quantiles(times[name], n=4)
        print(
            f"  {name:26} {median * 1000:9.2f} ms  (quartiles {spread[0] * 1000:.2f}"
            f" to {spread[2] * 1000:.2f})"
        )
    print("ratios")
    for name, other, ratio, goal in ratios:
        told = "" if goal is None else f"goal {goal:g}: {'met' if ratio <= goal else 'MISSED'}"
        print(f"  {name:18} / {other:26} {ratio:7.3f}  {told}")
    print("cpuprobe-native, CPU time")
    for line in _native_lines(native):
        print(line)
    print("check, MB of text a second and core")
    for line in scan_bench.lines(scanned):
        print(line)
    print("run, CPU time over wasmtime's own package")
    for line in run_bench.lines(guarded):
        print(line)
    missing = {"cpuid -r", "lscpu", "cpuprobe-native"} - set(medians)
    if missing:
        print(f"not here: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
