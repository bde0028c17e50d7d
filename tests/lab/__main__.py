"""Runs the worlds and prints a table; exit 1 if any differs, 3 if some cannot run here."""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import time

from tests.lab import packages
from tests.lab.common import LabMissing
from tests.lab.runner import Result, run_all
from tests.lab.world import World
from tests.lab.worlds import WORLDS


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument(
        "--list", action="store_true", help="name the worlds and what each expects, run nothing"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="run these (shell pattern; repeat)",
    )
    parser.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="worlds at a time (default 2)"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print what each world showed, as JSON, instead of a table",
    )
    parser.add_argument(
        "--kernels", action="store_true", help="ask the mirror which kernels it has, run nothing"
    )
    return parser.parse_args(argv)


def _chosen(patterns: list[str]) -> list[World]:
    if not patterns:
        return list(WORLDS)
    return [
        world
        for world in WORLDS
        if any(fnmatch.fnmatch(world.name, pattern) for pattern in patterns)
    ]


def _row(name: str, expected: str, seen: str, seconds: str) -> str:
    return f"{name:<30} {expected:<58} {seen:<16} {seconds:>7}"


def _seen(result: Result) -> str:
    if result.missing is not None:
        return "could not run"
    if result.wrong:
        return "could not finish" if result.seen is None else f"{len(result.wrong)} differ"
    again = ", booted again" if result.seen and "hung" in result.seen else ""
    return f"so ({result.world.facts}){again}"


def _print_table(worlds: list[World], jobs: int) -> tuple[int, int]:
    """Print a row a world as it ends; return how many differ and how many could not run."""
    print(_row("world", "expected", "seen", "time"))
    bad = missing = 0
    for result in run_all(worlds, jobs):
        print(
            _row(result.world.name, result.world.shows, _seen(result), f"{result.seconds:.1f} s"),
            flush=True,
        )
        for line in result.wrong:
            print("    " + line.replace("\n", "\n    "))
        if result.missing is not None:
            print(f"    {result.missing}")
        bad += bool(result.wrong)
        missing += result.missing is not None
    return bad, missing


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    options = _arguments(argv)
    if options.kernels:
        try:
            for series, package in packages.available().items():
                print(f"{series:<6} {package}")
        except LabMissing as error:
            print(f"lab: {error}", file=sys.stderr)
            return 3
        return 0
    worlds = _chosen(options.only)
    if not worlds:
        print(
            f"lab: no world is called {' or '.join(options.only)}; --list names them",
            file=sys.stderr,
        )
        return 2
    if options.list:
        for world in worlds:
            print(f"{world.name:<30} {world.kind:<7} {world.program:<16} {world.shows}")
        return 0
    if options.json:
        results = list(run_all(worlds, options.jobs))
        rows = [
            {"world": r.world.name, "seen": r.seen, "wrong": r.wrong, "missing": r.missing}
            for r in results
        ]
        print(json.dumps(rows, indent=1))
        return 0 if all(result.good for result in results) else 1
    started = time.monotonic()
    bad, missing = _print_table(worlds, max(1, options.jobs))
    took = time.monotonic() - started
    print(
        f"{len(worlds)} worlds in {took:.0f} s: {len(worlds) - bad - missing} as expected, "
        f"{bad} differ, {missing} could not run"
    )
    return 1 if bad else 3 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
