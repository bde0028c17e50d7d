"""`make bench`: how long cpuprobe takes, as ratios measured side by side in one run.

The commands take turns, so that a machine that speeds up or slows down does so for all of them; the
medians are compared, never a time with a time of another day. `python -m tests.tools.bench --json`
prints the numbers for a program.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROUNDS = 25
WARM_UP = 2

# What is compared with what, and the goal where there is one (docs/how-it-works.md, "Speed").
RATIOS = (
    ("cpuprobe --json", "python -c 'import typer'", 1.5),
    ("cpuprobe --json", "py-cpuinfo", 0.1),
    ("cpuprobe-native", "cpuid -r", 1.0),
    ("cpuprobe-native", "lscpu", None),
    ("import cpuprobe", "python -c pass", None),
)


def commands() -> dict[str, list[str]]:
    """The commands by name; those whose program is missing here are left out."""
    python = sys.executable
    found = {
        "python -c pass": [python, "-c", "pass"],
        "import cpuprobe": [python, "-c", "import cpuprobe"],
        "python -c 'import typer'": [python, "-c", "import typer"],
        "cpuprobe --json": [str(Path(python).parent / "cpuprobe"), "--json"],
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
            # py-cpuinfo sleeps for a second by design; a few rounds tell enough.
            if name == "py-cpuinfo" and number >= WARM_UP + 5:
                continue
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if number >= WARM_UP:
                times[name].append(time.perf_counter() - start)
    return times


def cost_per_cpu(rounds: int = ROUNDS) -> float | None:
    """Seconds that one more CPU costs `cpuprobe-native`; None with a single CPU or no program."""
    native = Path(__file__).parents[2] / "build" / "cpuprobe-native"
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2 or not native.exists():
        return None
    one: list[float] = []
    every: list[float] = []
    for _ in range(rounds):
        for cpulist, times in ((str(cpus[0]), one), (",".join(map(str, cpus)), every)):
            start = time.perf_counter()
            subprocess.run([native, "--cpus", cpulist], stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
    return (statistics.median(every) - statistics.median(one)) / (len(cpus) - 1)


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
    further = cost_per_cpu(options.rounds)
    if options.json:
        json.dump({"median_seconds": medians, "ratios": ratios, "per_cpu": further}, sys.stdout)
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
    if further is not None:
        print(f"one more CPU costs cpuprobe-native {further * 1000:.2f} ms (goal 1 ms)")
    missing = {"cpuid -r", "lscpu", "cpuprobe-native"} - set(medians)
    if missing:
        print(f"not here: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
