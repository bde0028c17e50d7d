"""`make bench`: what `cpuprobe run` costs over a program that uses wasmtime's package plainly.

Each runs the same module to the same result in turns; compared is CPU time, children and compiler
threads included.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from cpuprobe.wasm.operators import module_wat, operator_functions

_PLAIN = """
import sys, wasmtime
engine = wasmtime.Engine()
module = wasmtime.Module.from_file(engine, sys.argv[1])
store = wasmtime.Store(engine)
store.set_wasi(wasmtime.WasiConfig())
linker = wasmtime.Linker(engine)
linker.define_wasi()
print(linker.instantiate(store, module).exports(store)["f"](store, 6))
"""
_SMALL = (
    '(module (func (export "f") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 7))))'
)
_LARGE = 10_000  # functions: two seconds of compiling
_ROUNDS = {"small module": 15, "large module": 3}
GOALS = {"small module": 1.3, "large module": 1.1}


class RunSpeed(NamedTuple):
    """Of one module: seconds of CPU time plainly, and the ratio of `cpuprobe run` to that."""

    module: str
    plain: float
    ratio: float


def _modules(folder: Path) -> dict[str, Path]:
    import wasmtime

    plain = [each for each in operator_functions() if not each.relaxed and not each.atomic]
    large = module_wat(plain[:_LARGE]).rstrip().removesuffix(")") + _SMALL.removeprefix("(module")
    made = {}
    for name, text in (("small module", _SMALL), ("large module", large)):
        made[name] = folder / f"{name.split()[0]}.wasm"
        made[name].write_bytes(wasmtime.wat2wasm(text))
    return made


def _used(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.stdout.strip() != "42":
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-500:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def speeds() -> list[RunSpeed]:
    """Both modules; none where wasmtime is not installed."""
    if find_spec("wasmtime") is None:
        return []
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in _modules(Path(folder)).items():
            plain = [sys.executable, "-c", _PLAIN, str(path)]
            cpuprobe = str(Path(sys.executable).parent / "cpuprobe")
            guarded = [cpuprobe, "run", "--quiet", str(path), "--invoke", "f", "6"]
            times = [(_used(plain), _used(guarded)) for _ in range(_ROUNDS[name])]
            ratio = statistics.median(ours / theirs for theirs, ours in times)
            found.append(RunSpeed(name, statistics.median(each for each, _ in times), ratio))
    return found


def lines(measured: list[RunSpeed]) -> Iterator[str]:
    """The rows of the table."""
    for speed in measured:
        goal = GOALS[speed.module]
        told = "met" if speed.ratio <= goal else "MISSED"
        plain = f"{speed.plain * 1000:.0f} ms plainly"
        yield f"  {speed.module:14} {plain:>18}, run {speed.ratio:6.3f}  goal {goal:g}: {told}"
