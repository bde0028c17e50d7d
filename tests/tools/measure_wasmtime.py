"""Remakes profiles/wasmtime.toml: the flags of each wasmtime major, by its wheel.

Run: ``python tests/tools/measure_wasmtime.py`` (needs the network for pip, x86-64 Linux, some
minutes and 100 MB of temporary space). It takes the newest wheel of each major on PyPI, installs it
into a folder of its own, and in a child process

1. compiles an empty module and reads the flags from the artifact's engine section;
2. turns each flag on alone, and notes which ones the detector says it cannot judge: those no host
   will ever accept. A flag refused because this host lacks the feature does not count. Before 13
   the C API takes no flags: such a row has no `refuses`.

``--aarch64 PYTHON`` remakes profiles/wasmtime-aarch64.toml instead. PYTHON is a command that runs a
Python for arm64, under an emulator or on such a machine (tests/lab/packages.py unpacks one).

With majors as arguments only those are measured, and the rows are printed instead of written.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


OUTPUTS = {
    "x86-64": os.path.join(ROOT, "profiles", "wasmtime.toml"),
    "aarch64": os.path.join(ROOT, "profiles", "wasmtime-aarch64.toml"),
}
PLATFORMS = {
    "x86-64": (),
    "aarch64": ("--only-binary=:all:", "--platform=manylinux2014_aarch64"),
}
CHILD_TIMEOUT = 120.0
PIP_TIMEOUT = 600.0

# wasmtime-py before 15 looks up its library with importlib_resources on some Pythons.
EXTRA_PACKAGES = ("importlib_resources",)

DOUBT = "don't know how to test"
"""What wasmtime says of a flag that its detector cannot judge."""

CHILD = f"""\
import json, sys
sys.path[:1] = sys.argv[1:3]
from cpuprobe.code.engine_section import read_engine_section
from cpuprobe.wasm.configure import MissingOptionError, set_option
from wasmtime import Config, Engine, Module, WasmtimeError
section = read_engine_section(bytes(Module(Engine(Config()), "(module)").serialize()))
flags = [name for name, value in section.isa_flags.items() if type(value) is bool]
refuses = []
try:
    for flag in flags:
        config = Config()
        set_option(config, "cranelift_flag", flag, "true")
        try:
            Module(Engine(config), "(module)")
        except WasmtimeError as error:
            # wasmtime-py 50 keeps the message apart from the exception's arguments.
            if {DOUBT!r} in (str(error) or repr(error)):
                refuses.append(flag)
except MissingOptionError:
    refuses = None
print(json.dumps([flags, refuses]))
"""

_FIELDS = """\
# Made by tests/tools/measure_wasmtime.py: do not edit.
#
# major       the release; flags are those of its newest wheel on PyPI
# wheel       that wheel's exact version: what was measured
"""
_REFUSES = """\
# refuses     flags it accepts on no host, measured by trying each: turning one on fails with
#             "don't know how to test". Not measured, and so left out, where the C API has no call
#             to set a flag: before 13
"""
X86_64 = f"""\
# What each major release of wasmtime knows of x86-64.
{_FIELDS}\
# flags       its x86 flags by Cranelift's names, in the order its artifacts list them (up to
#             major 14 that is alphabetical). Setting any other name aborts the whole process
# simd_floor  the features without which it refuses to compile wasm SIMD. Source, not measured:
#             cranelift/codegen/src/isa/x64/mod.rs at the tags v8.0.0 ("SIMD support requires
#             SSE3, SSSE3, SSE4.1, and SSE4.2"), v9.0.0 (#6206), v10.0.0 (#6216); since v11.0.0
#             (#6625) there is no such check, SSE2 is enough
{_REFUSES}"""
AARCH64 = f"""\
# What each major release of wasmtime knows of aarch64, measured with its wheels under QEMU.
{_FIELDS}\
# flags       its aarch64 flags by Cranelift's names, in the order its artifacts list them: what
#             begins with has_ is a feature, the others say how code is made. Setting any other
#             name aborts the whole process
# simd_floor  the features without which it refuses to compile wasm SIMD
{_REFUSES}"""
HEADERS = {"x86-64": X86_64, "aarch64": AARCH64}


@dataclass(frozen=True)
class Row:
    """What was measured of one major: see the head of the table for the fields."""

    major: int
    wheel: str
    flags: tuple[str, ...]
    refuses: tuple[str, ...] | None


class Unmeasurable(Exception):
    """This wheel cannot be measured here; the message says why, in one line."""


def simd_floor(major: int, isa: str) -> tuple[str, ...]:
    """The features wasm SIMD needs, by LLVM names; see the head of the table for the source."""
    if isa == "aarch64":
        return ("neon",)
    if major >= 11:
        return ("sse2",)
    floors = {10: ("sse3", "ssse3"), 9: ("sse3", "ssse3", "sse4.1")}
    return floors.get(major, ("sse3", "ssse3", "sse4.1", "sse4.2"))


def pip(*arguments: str) -> str:
    """Runs pip and returns its output; Unmeasurable with pip's last line if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        timeout=PIP_TIMEOUT,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["pip failed"]
        raise Unmeasurable(lines[-1])
    return done.stdout


def newest_wheels() -> dict[int, str]:
    """Major to the newest version on PyPI that this Python may install, 1 and later."""
    listing = pip("index", "versions", "wasmtime")
    found = re.search(r"^Available versions: (.*)$", listing, re.MULTILINE)
    if found is None:
        raise Unmeasurable("pip index versions printed no versions")
    newest: dict[int, tuple[int, ...]] = {}
    for version in found[1].split(", "):
        parts = tuple(int(part) for part in version.split("."))
        newest[parts[0]] = max(parts, newest.get(parts[0], parts))
    return {
        major: ".".join(str(part) for part in parts)
        for major, parts in sorted(newest.items())
        if major > 0
    }


def measure(major: int, wheel: str, folder: str, python: Sequence[str], isa: str) -> Row:
    """Installs one wheel into a folder and asks it for its flags.

    Raises:
        Unmeasurable: it does not install, run or write an artifact that can be read.
    """
    pip(
        "install", "--quiet", "--target", folder, "--no-deps", *PLATFORMS[isa],
        f"wasmtime=={wheel}", *EXTRA_PACKAGES,
    )  # fmt: skip
    done = subprocess.run(
        [*python, "-c", CHILD, folder, os.path.join(ROOT, "probe")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=CHILD_TIMEOUT,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        last = lines[-1] if lines else f"the child ended with {done.returncode}"
        raise Unmeasurable(last.rpartition("Error: ")[2])
    flags, refuses = json.loads(done.stdout)
    if isa == "x86-64":
        flags = [name for name in flags if name.startswith("has_")]
    return Row(major, wheel, tuple(flags), None if refuses is None else tuple(refuses))


def _array(values: Sequence[str]) -> str:
    line = "[" + ", ".join(f'"{value}"' for value in values) + "]"
    if len(line) <= 100:
        return line
    return "[\n" + "".join(f'    "{value}",\n' for value in values) + "]"


def render(row: Row, isa: str) -> str:
    """One row as TOML."""
    refuses = "" if row.refuses is None else f"refuses = {_array(row.refuses)}\n"
    return (
        f'\n[[version]]\nmajor = {row.major}\nwheel = "{row.wheel}"\nflags = {_array(row.flags)}\n'
        f"simd_floor = {_array(simd_floor(row.major, isa))}\n{refuses}"
    )


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the table; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--aarch64", metavar="PYTHON")
    parser.add_argument("majors", type=int, nargs="*")
    chosen = parser.parse_args(arguments)
    isa = "aarch64" if chosen.aarch64 else "x86-64"
    python = shlex.split(chosen.aarch64) if chosen.aarch64 else [sys.executable]
    rows: list[Row] = []
    left_out: list[str] = []
    wheels = newest_wheels()
    for major, wheel in wheels.items():
        if chosen.majors and major not in chosen.majors:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                row = measure(major, wheel, folder, python, isa)
            except Unmeasurable as why:
                left_out.append(f"# left out: {major} ({wheel}): {why}\n")
                print(f"{major} {wheel}: {why}", file=sys.stderr)
                continue
        rows.append(row)
        print(f"{major} {wheel}: {len(row.flags)} flags, refuses {row.refuses}", file=sys.stderr)
    missing = [major for major in range(min(wheels), max(wheels)) if major not in wheels]
    left_out += [f"# left out: {major}: PyPI has no wheel of it\n" for major in missing]
    rows.sort(key=lambda row: row.major, reverse=True)
    body = "".join(render(row, isa) for row in rows)
    if chosen.majors:
        print(body)
        return 0
    text = HEADERS[isa] + ("#\n" + "".join(left_out) if left_out else "") + body
    with open(OUTPUTS[isa] + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(OUTPUTS[isa] + ".new", OUTPUTS[isa])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
