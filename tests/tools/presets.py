"""Remakes profiles/presets.toml: what the presets of each wasmtime major turn on, by its wheel.

Run: ``python -m tests.tools.presets [MAJOR...]`` (needs the network for pip, and x86-64 Linux; some
minutes without majors). Each wheel is that of profiles/wasmtime.toml, installed into a folder of
its own; the rows of the majors that are not asked for stay.

No call lists presets. But Cranelift keeps its settings in tables that are part of the library, and
those can be read from the file, which runs nothing and so gives the same answer on every host:

    Template    name, descriptors, enumerators, hash table, defaults, presets, each of the two words
                pointer and length; the one for x86-64 is named `x86`
    Descriptor  name, description, each of two words; a 32-bit offset; a byte that says what it is,
                0 a flag, 3 a preset; for a flag its bit in the byte `offset` of the settings
    presets     for each preset a mask and a value for every byte of the settings, from the entry
                `offset` on

Source: cranelift/codegen/src/settings.rs and cranelift/codegen/meta/src/gen_settings.rs in
wasmtime at e6b33de; their order in memory is the Rust compiler's choice, as found in the wheels.

What is read is held against the wheel itself: a child process turns on each preset and compiles
with it. wasmtime does that only for a preset whose every flag this host has; for any other it must
refuse, with a word about a flag of the preset. A contradiction is an error, never a row.
"""

from __future__ import annotations

import json
import os
import platform
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from cpuprobe.code.elf import ArtifactError, Section, read_sections
from cpuprobe.facts.presets import Rows, preset_rows
from cpuprobe.facts.tables import load_table
from tests.tools.measure_wasmtime import EXTRA_PACKAGES, ROOT, Unmeasurable, pip

OUTPUT = os.path.join(ROOT, "profiles", "presets.toml")
TARGET = "x86_64-unknown-linux-gnu"
CHILD_TIMEOUT = 300.0

_DESCRIPTOR = 40
_TEMPLATE_SLICES = 6
_FLAG, _PRESET = 0, 3
_MOST = 4096
_RELA, _RELATIVE = 4, 8

HEADER = """\
# The presets of wasmtime for x86-64: names that turn on several flags at once.
# Made by tests/tools/presets.py: do not edit.
#
# majors   the releases that have just these presets, each measured by the wheel that wasmtime.toml
#          names: read from its library, and confirmed by compiling with each preset where the C
#          API can turn one on: from 14 on
# gone     presets of the next newer releases, above, that these do not have
# presets  what differs from the next newer releases: the name, Cranelift's own words for it, and
#          the flags that it turns on, without `has_`
"""

# Turns on no preset, then one after the other. sys.argv: the wheel's folder, ours, the names.
CHILD = f"""\
import ctypes, json, sys
sys.path[:1] = sys.argv[1:3]
from wasmtime import Config, Engine, Module, WasmtimeError, _bindings
from cpuprobe.wasm.configure import message_of, set_option
from cpuprobe.code.engine_section import read_engine_section
enable = getattr(_bindings, "wasmtime_config_cranelift_flag_enable", None)
found = {{}}
for name in ["", *json.loads(sys.argv[3])] if enable else ():
    config = Config()
    set_option(config, "target", "{TARGET}")
    if name:
        enable(config.ptr() if hasattr(Config, "ptr") else config._ptr,
               ctypes.create_string_buffer(name.encode()))
    try:
        found[name] = read_engine_section(Module(Engine(config), "(module)").serialize()).isa_flags
    except WasmtimeError as error:
        found[name] = message_of(error)
json.dump(found, sys.stdout)
"""


class Preset(NamedTuple):
    """One preset: Cranelift's words for it, and every `has_*` flag to whether it turns it on."""

    description: str
    flags: dict[str, bool]


def read_presets(path: str | os.PathLike[str]) -> dict[str, Preset]:
    """The presets for x86-64 in wasmtime's library. Runs nothing of it; takes about 20 ms.

    Args:
        path: the library.

    Raises:
        Unmeasurable: it cannot be read, or has no such tables in the known form.
    """
    shown = os.path.basename(path)
    try:
        with open(path, "rb") as opened:
            found = _presets_in(_Image(read_sections(opened.read())))
    except OSError as error:
        raise Unmeasurable(f"cannot read {shown}: {error.strerror}") from None
    except (ArtifactError, ValueError) as error:
        raise Unmeasurable(f"cannot read presets from {shown}: {error}") from None
    if not found:
        raise Unmeasurable(f"{shown} has no presets for x86-64 in a form that is known")
    return found


def confirm(known: Mapping[str, Preset], answers: Mapping[str, Mapping[str, bool] | str]) -> None:
    """Holds what was read against what wasmtime did.

    Args:
        known: the presets as read.
        answers: preset to the flags of what compiled, or the words of a refusal, and the empty
            name to what is on without any: wasmtime 18 infers even with the target pinned. None
            where there is no call to turn a preset on.

    Raises:
        Unmeasurable: the two contradict each other.
    """
    if not answers:
        return
    always = answers[""]
    if isinstance(always, str):
        raise Unmeasurable(f"wasmtime refuses what every host has: {always}")
    for name, preset in known.items():
        flags, answer = preset.flags, answers[name]
        if isinstance(answer, str):
            if not any(f'"{flag}"' in answer for flag, on in flags.items() if on):
                raise Unmeasurable(f"wasmtime refuses its preset {name}: {answer}")
            continue
        compiled = {flag: on for flag, on in answer.items() if flag.startswith("has_")}
        expected = {flag: on or always[flag] for flag, on in flags.items()}
        wrong = sorted({flag for flag, _ in compiled.items() ^ expected.items()})
        if wrong:
            raise Unmeasurable(
                f"the preset {name} compiles otherwise than the library's tables say: "
                f"{', '.join(wrong)}"
            )


def library(folder: str) -> str:
    """Where a wheel installed into a folder keeps wasmtime's library."""
    return os.path.join(folder, "wasmtime", f"linux-{platform.machine()}", "_libwasmtime.so")


def ask(folder: str, names: Iterable[str]) -> dict[str, dict[str, bool] | str]:
    """What the wasmtime in a folder says to each preset alone, in a child process.

    Raises:
        Unmeasurable: it died, failed or hung.
    """
    command = [sys.executable, "-c", CHILD, folder, os.path.join(ROOT, "probe")]
    done = subprocess.run(
        [*command, json.dumps(list(names))],
        capture_output=True,
        timeout=CHILD_TIMEOUT,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Unmeasurable(lines[-1] if lines else f"the child ended with {done.returncode}")
    said: dict[str, dict[str, bool] | str] = json.loads(done.stdout)
    return said


def measure(wheel: str) -> dict[str, Preset]:
    """The presets of one wheel, read and confirmed.

    Raises:
        Unmeasurable: it does not install, cannot be read, or contradicts itself.
    """
    with tempfile.TemporaryDirectory() as folder:
        pip(
            *("install", "--quiet", "--target", folder, "--no-deps"),
            *(f"wasmtime=={wheel}", *EXTRA_PACKAGES),
        )
        found = read_presets(library(folder))
        confirm(found, ask(folder, found))
    return found


def rows_of(found: Mapping[str, Preset]) -> Rows:
    """The presets as they stand in the table."""
    return {
        name: (
            preset.description,
            " ".join(flag.removeprefix("has_") for flag, on in preset.flags.items() if on),
        )
        for name, preset in found.items()
    }


def render(table: Mapping[int, Rows]) -> str:
    """The table as TOML, of each major what differs from the next newer one.

    Args:
        table: major to its presets.
    """
    text = HEADER
    groups: list[tuple[list[int], Rows]] = []
    for major in sorted(table, reverse=True):
        if groups and groups[-1][1] == table[major]:
            groups[-1][0].append(major)
        else:
            groups.append(([major], table[major]))
    newer: Rows = {}
    for majors, presets in groups:
        gone = [name for name in newer if name not in presets]
        changed = {name: row for name, row in presets.items() if newer.get(name) != row}
        text += f"\n[[wasmtime]]\nmajors = {majors}\ngone = {json.dumps(gone)}\n"
        text += "\n[wasmtime.presets]\n"
        width = max(len(json.dumps(name)) for name in presets)
        for name, row in changed.items():
            text += f"{json.dumps(name):{width}} = {json.dumps(row)}\n"
        newer = presets
    return text


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the table; returns the exit code."""
    wheels = {row["major"]: row["wheel"] for row in load_table("wasmtime")["version"]}
    only = [int(argument) for argument in arguments] or sorted(wheels, reverse=True)
    table = {major: rows for majors, rows in preset_rows() for major in majors}
    failed = 0
    for major in only:
        try:
            table[major] = rows_of(measure(wheels[major]))
        except Unmeasurable as why:
            failed = 1
            print(f"{major} {wheels[major]}: {why}", file=sys.stderr)
        else:
            print(f"{major} {wheels[major]}: {len(table[major])} presets", file=sys.stderr)
    with open(OUTPUT + ".new", "w", encoding="utf-8") as file:
        file.write(render(table))
    os.replace(OUTPUT + ".new", OUTPUT)
    return failed


# --- the library's tables ---


class _Image:
    """A library as it lies in memory, its relative relocations applied."""

    def __init__(self, sections: Iterable[Section]) -> None:
        self._parts: list[tuple[int, bytes]] = []
        self._pointers: dict[int, int] = {}
        for section in sections:
            if section.name.startswith((".rodata", ".data.rel.ro")):
                self._parts.append((section.address, bytes(section.data)))
            elif section.type == _RELA:
                rows = section.data[: len(section.data) // 24 * 24]
                for at, kind, value in struct.iter_unpack("<QQQ", rows):
                    if kind == _RELATIVE:
                        self._pointers[at] = value

    def bytes_at(self, address: int, size: int) -> bytes | None:
        """That many bytes; None if they lie in no section of constants."""
        for start, data in self._parts:
            if start <= address and address - start + size <= len(data):
                return data[address - start : address - start + size]
        return None

    def slice_at(self, address: int) -> tuple[int, int] | None:
        """The pointer and the length that lie there."""
        length = self.bytes_at(address + 8, 8)
        if address not in self._pointers or length is None:
            return None
        return self._pointers[address], int.from_bytes(length, "little")

    def contents_at(self, address: int, size: int = 1) -> bytes | None:
        """The elements, of that size, of the slice whose pointer and length lie there."""
        found = self.slice_at(address)
        if found is None or found[1] > _MOST:
            return None
        return self.bytes_at(found[0], found[1] * size) if found[1] else b""

    def referrers(self, text: bytes) -> Iterator[int]:
        """Where pointers to that text lie."""
        targets = set()
        for start, data in self._parts:
            at = data.find(text)
            while at >= 0:
                targets.add(start + at)
                at = data.find(text, at + 1)
        return (at for at, target in self._pointers.items() if target in targets)

    def pointers_to(self, target: int) -> Iterator[int]:
        """Where pointers to that address lie."""
        return (at for at, value in self._pointers.items() if value == target)


def _presets_in(image: _Image) -> dict[str, Preset]:
    for at in image.referrers(b"has_sse3"):
        # It is the first of the descriptors.
        for pointer in image.pointers_to(at):
            found = _template(image, pointer - 16)
            if found:
                return found
    return {}


def _template(image: _Image, start: int) -> dict[str, Preset]:
    """The presets of the template at that address; nothing if what lies there is no template."""
    descriptors = image.slice_at(start + 16)
    slices = [image.slice_at(start + 16 * number) for number in range(_TEMPLATE_SLICES)]
    defaults = image.contents_at(start + 64)
    entries = image.contents_at(start + 80, 2)
    if (
        None in slices
        or image.contents_at(start) != b"x86"
        or descriptors is None
        or descriptors[1] > _MOST
        or not defaults
        or not entries
    ):
        return {}
    bits: dict[str, tuple[int, int]] = {}
    found: dict[str, tuple[str, int]] = {}
    for number in range(descriptors[1]):
        at = descriptors[0] + number * _DESCRIPTOR
        name, description = image.contents_at(at), image.contents_at(at + 16)
        detail = image.bytes_at(at + 32, 8)
        if not name or description is None or detail is None:
            return {}
        offset, kind, bit = struct.unpack_from("<IBB", detail)
        if kind == _FLAG and bit < 8 and offset < len(defaults):
            bits[name.decode("ascii")] = (offset, bit)
        elif kind == _PRESET and 2 * (offset + len(defaults)) <= len(entries):
            found[name.decode("ascii")] = (description.decode("utf-8"), offset)
        else:
            return {}
    result = {}
    for name_, (words, offset) in found.items():
        settings = bytearray(defaults)
        for index in range(len(defaults)):
            mask, value = entries[2 * (offset + index)], entries[2 * (offset + index) + 1]
            settings[index] = settings[index] & ~mask & 0xFF | value
        flags = {flag: bool(settings[byte] >> bit & 1) for flag, (byte, bit) in bits.items()}
        result[name_] = Preset(words, flags)
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
