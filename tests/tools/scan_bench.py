"""How fast the scanner is beside other decoders, in one run: a part of `make bench`.

Megabytes of executable bytes a second of CPU time, all threads together, so that neighbours and the
number of CPUs are of no weight. `check` of one file, which uses all CPUs, is measured by the clock
as well: that is what somebody waits for.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cpuprobe.check import many
from cpuprobe.check.against import HostCapabilities, within
from cpuprobe.code import scan
from cpuprobe.code.elf import Held
from cpuprobe.code.elf_program import read_elf
from cpuprobe.code.layout import plan
from cpuprobe.code.native import NATIVE
from cpuprobe.facts.profiles import find_profile

ROUNDS = 7
SLICE = 4_000_000
"""Bytes that slow decoders are given."""
GOALS = {"scanner": 7.0, "check": 4.0, "check, CPU time": None}
"""Times Zydis (docs/how-it-works.md)."""

# Rust with few hits; C++ with AVX2 throughout; C++, assembler and C with AVX-512 islands.
FILES = (
    ("wasmtime", "**/_libwasmtime.so"),
    ("_duckdb", "_duckdb*.so"),
    ("pyarrow", "libarrow.so.*"),
    ("numpy", "../numpy.libs/*openblas*.so"),
    ("numpy", "_core/_multiarray_umath*.so"),
)


class Speed(NamedTuple):
    """One file: its name, megabytes of text, and by decoder the megabytes a second."""

    file: str
    text: float
    rates: dict[str, float]


def files() -> Iterator[Path]:
    """Those of FILES that are installed."""
    for module, pattern in FILES:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            yield from sorted(Path(spec.origin).parent.glob(pattern))[:1]


def zydis(folder: Path) -> Callable[[bytes], object] | None:
    """Zydis, compiled for this; None without its headers (libzydis-dev) or a compiler."""
    library = folder / "zydis.so"
    source = Path(__file__).with_name("zydis.c")
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-lZydis"]
    if shutil.which("cc") is None or subprocess.run(command, capture_output=True).returncode:
        return None
    function = ctypes.CDLL(str(library)).count_instructions
    function.restype = ctypes.c_size_t
    return lambda code: function(code, ctypes.c_size_t(len(code)))


def _iced(code: bytes) -> None:
    from iced_x86 import Decoder

    {each.code for each in Decoder(64, code)}


def _objdump(path: Path, address: int) -> None:
    stop = f"--stop-address={address + SLICE}"
    subprocess.run(
        ["objdump", "-d", f"--start-address={address}", stop, path], stdout=subprocess.DEVNULL
    )


def _cpu_time() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _speed(path: Path, folder: Path, against: HostCapabilities) -> Speed:
    """Takes turns at one file."""
    file = read_elf(Held(path.read_bytes()))
    code = max(file.code, key=lambda each: len(each.data))
    work = plan(file)
    size = sum(len(each.data) for each in file.code)
    part, few = bytes(code.data[: 4 * SLICE]), bytes(code.data[:SLICE])
    turns: dict[str, tuple[int, Callable[[], object]]] = {
        "scanner": (work.size, lambda: scan.scan(file, work, threads=1)),
        "check": (size, lambda: many.check([(str(path), True)], against, 1, lambda *_: None)),
        "iced-x86": (len(few), lambda: _iced(few)),
    }
    other = zydis(folder)
    if other is not None:
        turns["Zydis"] = len(part), lambda: other(part)
    if shutil.which("objdump"):
        turns["objdump"] = len(few), lambda: _objdump(path, code.address)
    times: dict[str, list[float]] = defaultdict(list)
    gc.disable()  # as the command does, and:
    gc.freeze()
    for number in range(1 + ROUNDS):
        for name, (_, turn) in turns.items():
            if name == "objdump" and number > 1:
                continue
            start, clock = _cpu_time(), time.perf_counter()
            turn()
            if number and name == "check":
                times[name].append(time.perf_counter() - clock)
            if number:
                times["check, CPU time" if name == "check" else name].append(_cpu_time() - start)
    gc.enable()
    sizes = {name: size for name, (size, _) in turns.items()}
    rates = {
        name: sizes[name.partition(",")[0]] / 1e6 / statistics.median(taken)
        for name, taken in times.items()
    }
    return Speed(path.name, size / 1e6, rates)


def speeds() -> list[Speed]:
    """Of each file that is here."""
    against = within(find_profile("x86-64-v2"))
    with tempfile.TemporaryDirectory() as folder:
        return [_speed(path, Path(folder), against) for path in files()]


def lines(found: list[Speed]) -> Iterator[str]:
    """The rows of a table."""
    if not NATIVE:
        yield "  the package was built without its extension: the plain scanner is measured"
    for speed in found:
        rates = ", ".join(f"{name} {rate:.0f}" for name, rate in speed.rates.items())
        yield f"  {speed.file}, {speed.text:.0f} MB: {rates}"
        for name, goal in GOALS.items():
            for other in ("Zydis", "iced-x86", "objdump") if goal else ("Zydis",):
                if other not in speed.rates:
                    yield f"    {name} / {other}: not installed here"
                    continue
                ratio = speed.rates[name] / speed.rates[other]
                ending = ""
                if goal and other == "Zydis":
                    ending = f"  goal {goal:g}: {'met' if ratio >= goal else 'MISSED'}"
                yield f"    {f'{name} / {other}':23} {ratio:6.1f}{ending}"


if __name__ == "__main__":
    print("\n".join(lines(speeds())))
