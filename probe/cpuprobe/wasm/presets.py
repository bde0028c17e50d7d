"""The presets of the installed wasmtime: names such as `x86-64-v3` that turn on several flags.

No call lists them. But Cranelift keeps its settings in tables that are part of the library, and
those can be read from the file, which runs nothing and so gives the same answer on every host:

    Template    name, descriptors, enumerators, hash table, defaults, presets, each of the two words
                pointer and length; the one for x86-64 is named `x86`
    Descriptor  name, description, each of two words; a 32-bit offset; a byte that says what it is,
                0 a flag, 3 a preset; for a flag its bit in the byte `offset` of the settings
    presets     for each preset a mask and a value for every byte of the settings, from the entry
                `offset` on

Source: cranelift/codegen/src/settings.rs and cranelift/codegen/meta/src/gen_settings.rs in
wasmtime at e6b33de; their order in memory is the Rust compiler's choice, as found in the wheels.

What is read is held against the installed wasmtime itself: a child process turns on each preset and
compiles with it. wasmtime does that only for a preset whose every flag this host has; for any other
it must refuse, and `refusal` keeps its words. A contradiction is an error, never a result.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from cpuprobe.code.elf import ArtifactError, Section, read_sections
from cpuprobe.emit.wasmtime import TARGET
from cpuprobe.errors import UsageError, did_you_mean
from cpuprobe.evidence.installed import package_folder
from cpuprobe.facts.features import load_features
from cpuprobe.facts.profiles import Profile, problems
from cpuprobe.wasm.introspect import IntrospectionError, compile_in_child, own_folder

__all__ = [
    "Effect",
    "Preset",
    "as_profile",
    "effect",
    "preset_flags",
    "preset_names",
    "presets",
    "read_presets",
]

_DESCRIPTOR = 40
_TEMPLATE_SLICES = 6
_FLAG, _PRESET = 0, 3
_MOST = 4096
_RELA, _RELATIVE = 4, 8

# Turns on one preset after the other. sys.argv[2] is the folder that holds cpuprobe.
_CHILD = """\
import ctypes, json, sys
sys.path[:] = [sys.argv[1], *filter(None, sys.path), sys.argv[2]]
from wasmtime import Config, Engine, Module, WasmtimeError, _bindings
from cpuprobe.wasm.configure import message_of, set_option
from cpuprobe.code.engine_section import read_engine_section
enable = getattr(_bindings, "wasmtime_config_cranelift_flag_enable", None)
found = {}
for name in json.loads(sys.argv[4]) if enable else ():
    config = Config()
    set_option(config, "target", sys.argv[3])
    enable(config.ptr() if hasattr(Config, "ptr") else config._ptr,
           ctypes.create_string_buffer(name.encode()))
    try:
        found[name] = read_engine_section(Module(Engine(config), "(module)").serialize()).isa_flags
    except WasmtimeError as error:
        found[name] = message_of(error)
json.dump(found, sys.stdout)
"""

# Compiles the operators of `cpuprobe verify`. sys.argv[2] is the folder that holds cpuprobe.
_COMPILE = """\
import sys
sys.path[:] = [sys.argv[1], *filter(None, sys.path), sys.argv[2]]
from cpuprobe.wasm.verify_child import main
main(sys.argv[3])
"""
_PATIENCE = 300.0


class Preset(msgspec.Struct, frozen=True):
    """One preset of the installed wasmtime.

    Attributes:
        name: as `wasmtime_config_cranelift_flag_enable` takes it.
        description: Cranelift's own words.
        flags: every `has_*` flag of this wasmtime, and whether the preset turns it on.
        compiled: whether wasmtime has compiled with it here, with just these flags.
        refusal: wasmtime's words if it did not; before major 14 it has no call to turn one on.
    """

    name: str
    description: str
    flags: dict[str, bool]
    compiled: bool = False
    refusal: str | None = None


class Effect(msgspec.Struct, frozen=True):
    """What comes of an incoherent preset, found by compiling every operator of wasm with it.

    Attributes:
        idle: flags without any effect: with them off the code is the same, byte for byte.
        used: features that the code does use though what they imply is off.
        off: what these imply and the preset leaves off.
    """

    idle: tuple[str, ...]
    used: tuple[str, ...]
    off: tuple[str, ...]


def preset_names() -> tuple[str, ...]:
    """The names of the installed wasmtime's presets for x86-64, in its own order.

    Raises:
        IntrospectionError: no wasmtime, or its library cannot be read.
    """
    return tuple(read_presets())


def preset_flags(names: Iterable[str] | None = None) -> dict[str, dict[str, bool]]:
    """What presets turn on when nothing else is, with the target pinned: see `presets`.

    Returns:
        Preset to every `has_*` flag and whether it is on.
    """
    return {name: preset.flags for name, preset in presets(names).items()}


def presets(names: Iterable[str] | None = None) -> dict[str, Preset]:
    """Presets of the installed wasmtime, read from its library and held against what it does.

    Args:
        names: the ones to look at; None for all.

    Raises:
        UsageError: this wasmtime has no such preset.
        IntrospectionError: no wasmtime, it cannot be asked, or it does not do what its tables say.
    """
    known = read_presets()
    wanted = list(known) if names is None else list(dict.fromkeys(names))
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(f"the installed wasmtime has no preset {name!r}{hint}")
    answers = _try(wanted)
    return {
        name: _confirm(known[name], answers[name]) if name in answers else known[name]
        for name in wanted
    }


def read_presets(path: str | os.PathLike[str] | None = None) -> dict[str, Preset]:
    """The presets for x86-64 in wasmtime's library. Runs nothing of it; takes about 20 ms.

    Args:
        path: the library; None for the installed one.

    Raises:
        IntrospectionError: no wasmtime, or the file has no such tables in the known form.
    """
    file = _installed_library() if path is None else os.fspath(path)
    shown = os.path.basename(file)
    try:
        with open(file, "rb") as opened:
            found = _presets_in(_Image(read_sections(opened.read())))
    except OSError as error:
        raise IntrospectionError(f"cannot read {shown}: {error.strerror}") from None
    except (ArtifactError, ValueError) as error:
        raise IntrospectionError(f"cannot read presets from {shown}: {error}") from None
    if not found:
        raise IntrospectionError(f"{shown} has no presets for x86-64 in a form that is known")
    return found


def as_profile(preset: Preset, wasmtime: str) -> Profile:
    """A preset as a profile, so that it can be linted: the features whose flags it turns on.

    Args:
        preset: the preset.
        wasmtime: the version of the installed wasmtime.
    """
    table = load_features().by_cranelift
    on = frozenset(table[flag].name for flag, on in preset.flags.items() if on and flag in table)
    return Profile(
        name=preset.name,
        kind="preset",
        purpose=preset.description,
        source=f"the library of wasmtime {wasmtime}",
        origin=f"wasmtime {wasmtime}",
        features=on,
        preset=preset.name,
    )


def effect(preset: Preset) -> Effect:
    """Compiles with an incoherent preset, and once more without what seems to have no effect.

    The flags are set one by one with the target pinned, which is all that a preset does (`presets`
    has seen to that). Takes a few seconds.

    Raises:
        IntrospectionError: wasmtime cannot be asked, or refuses: this host lacks a flag.
        CannotMeasureError: iced-x86 is missing.
    """
    from cpuprobe.wasm.proof import prove_code

    table = load_features()
    profile = as_profile(preset, "")
    found = problems(profile)
    artifact = _compile(preset.flags)
    try:
        features = set(prove_code(artifact, profile.features).features)
    except ArtifactError as error:
        raise IntrospectionError(f"cannot read the artifact of {preset.name}: {error}") from None
    used = [each for each in found if each.feature in features]
    unused = {each.feature for each in found} - features
    reduced = {
        flag: on and (flag not in table.by_cranelift or table.by_cranelift[flag].name not in unused)
        for flag, on in preset.flags.items()
    }
    same = not unused or _code(artifact) == _code(_compile(reduced))
    off = {lacking for each in used for lacking in each.lacks}
    return Effect(
        tuple(flag for flag, on in preset.flags.items() if on != reduced[flag]) if same else (),
        tuple(each.feature for each in used),
        tuple(each for each in table if each in off),
    )


@functools.cache
def _compiled(flags: tuple[tuple[str, bool], ...]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "operators.cwasm")
        request = {"do": "compile", "path": path, "flags": dict(flags), "operators": []}
        compile_in_child(_COMPILE, (own_folder(), json.dumps(request)), _PATIENCE)
        with open(path, "rb") as file:
            return file.read()


def _compile(flags: Mapping[str, bool]) -> bytes:
    return _compiled(tuple(flags.items()))


def _code(artifact: bytes) -> list[bytes]:
    return [bytes(each.data) for each in read_sections(artifact) if each.name == ".text"]


def _installed_library() -> str:
    folder = package_folder()
    if folder is None:
        raise IntrospectionError("wasmtime is not installed for this Python: pip install wasmtime")
    return os.path.join(folder, "wasmtime", f"linux-{platform.machine()}", "_libwasmtime.so")


def _try(names: list[str]) -> dict[str, dict[str, bool] | str]:
    """What the installed wasmtime says to each preset alone: the flags, or why it refuses.

    Nothing where it has no call to turn one on.
    """
    answer = compile_in_child(_CHILD, (own_folder(), TARGET, json.dumps(names)))
    try:
        said: dict[str, dict[str, bool] | str] = msgspec.json.decode(
            answer, type=dict[str, dict[str, bool] | str]
        )
    except msgspec.DecodeError as error:
        raise IntrospectionError(f"wasmtime's child process gave no answer: {error}") from None
    return said


def _confirm(preset: Preset, answer: Mapping[str, bool] | str) -> Preset:
    """The preset with what wasmtime did with it.

    Raises:
        IntrospectionError: that is not what the library's tables say.
    """
    if isinstance(answer, str):
        if not any(f'"{flag}"' in answer for flag, on in preset.flags.items() if on):
            raise IntrospectionError(f"wasmtime refuses its preset {preset.name}: {answer}")
        return msgspec.structs.replace(preset, refusal=answer)
    compiled = {flag: on for flag, on in answer.items() if flag.startswith("has_")}
    if compiled != preset.flags:
        wrong = sorted({flag for flag, _ in compiled.items() ^ preset.flags.items()})
        raise IntrospectionError(
            f"the preset {preset.name} compiles otherwise than the library's tables say: "
            f"{', '.join(wrong)}"
        )
    return msgspec.structs.replace(preset, compiled=True)


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
        result[name_] = Preset(name_, words, flags)
    return result
