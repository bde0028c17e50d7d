"""What a compiled wasmtime artifact (.cwasm) says about the engine that made it.

An artifact is an ELF file with a section ``.wasmtime.engine``. Its layout, from wasmtime's
crates/wasmtime/src/engine/serialization.rs at v4.0.0, v9.0.0, v14.0.0, v19.0.0,
v24.0.0 and e6b33de; checked by reading artifacts of the wheels of every major from 3 to 50:

1. a version byte, 0;
2. a byte with the length of the next field;
3. the version of wasmtime, or whatever text the embedder chose;
4. ``Metadata``: target triple, shared flags, ISA flags, then tunables and wasm features, which are
   not read here: they differ from release to release.

Until v20 ``Metadata`` is in bincode (64-bit little-endian lengths, 32-bit enum tags), from v21 in
postcard (varints). The two tell themselves apart: a bincode length has zero bytes behind it where
postcard has the first letters of the target. A flag's value is an enum of a string, an 8-bit
number or a bool (crates/environ/src/compilation.rs, FlagValue), the same in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from cpuprobe.code.elf import ArtifactError, read_sections

ENGINE_SECTION = ".wasmtime.engine"

FlagValue = bool | int | str

_MAX_FLAGS = 512
_MAX_TEXT = 256
_LAYOUT_VERSION = 0


@dataclass(frozen=True, slots=True)
class EngineSection:
    """The readable part of an artifact's engine section.

    Attributes:
        version: wasmtime's version as the artifact has it: ``50`` for 50.0.1, ``14.0.0`` in older
            ones, empty or free text if the embedder set it.
        target: target triple, for example ``x86_64-unknown-linux-gnu`` or ``pulley64``.
        shared_flags: Cranelift's target-independent settings, in the artifact's order.
        isa_flags: the target's settings, for x86-64 the ``has_*`` flags, in the artifact's order.
    """

    version: str
    target: str
    shared_flags: dict[str, FlagValue]
    isa_flags: dict[str, FlagValue]


class _Cursor:
    """Reads forward through bytes; every step is bounded by what is there."""

    def __init__(self, data: bytes, bincode: bool) -> None:
        self._data = data
        self._position = 0
        self._bincode = bincode

    def byte(self) -> int:
        if self._position >= len(self._data):
            raise ArtifactError(f"{ENGINE_SECTION}: ends too early")
        self._position += 1
        return self._data[self._position - 1]

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._position:
            raise ArtifactError(f"{ENGINE_SECTION}: ends too early")
        self._position += size
        return self._data[self._position - size : self._position]

    def _varint(self) -> int:
        """An unsigned LEB128 number of at most 64 bits (postcard specification, "varint")."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value
        raise ArtifactError(f"{ENGINE_SECTION}: a number is longer than 64 bits")

    def length(self) -> int:
        return int.from_bytes(self.take(8), "little") if self._bincode else self._varint()

    def tag(self) -> int:
        return int.from_bytes(self.take(4), "little") if self._bincode else self._varint()

    def text(self, what: str) -> str:
        size = self.length()
        if size > _MAX_TEXT:
            raise ArtifactError(f"{ENGINE_SECTION}: {what} of {size} bytes")
        return _printable(self.take(size), what)

    def flag_value(self, name: str) -> FlagValue:
        tag = self.tag()
        if tag == 0:
            return self.text(f"the value of {name}")
        if tag == 1:
            return self.byte()
        if tag == 2:
            value = self.byte()
            if value > 1:
                raise ArtifactError(f"{ENGINE_SECTION}: {name} is neither true nor false")
            return value == 1
        raise ArtifactError(f"{ENGINE_SECTION}: the value of {name} has the unknown kind {tag}")

    def flags(self, what: str) -> dict[str, FlagValue]:
        count = self.length()
        if count > _MAX_FLAGS:
            raise ArtifactError(f"{ENGINE_SECTION}: {count} {what}")
        flags: dict[str, FlagValue] = {}
        for _ in range(count):
            name = self.text("a flag's name")
            if name in flags:
                raise ArtifactError(f"{ENGINE_SECTION}: {name} occurs twice")
            flags[name] = self.flag_value(name)
        return flags


def _printable(raw: bytes, what: str) -> str:
    """Decodes text that may end up in an error message or on a terminal."""
    if not raw.isascii() or not raw.decode("ascii").isprintable():
        raise ArtifactError(f"{ENGINE_SECTION}: {what} is not plain text")
    return raw.decode("ascii")


def parse_engine_section(data: bytes) -> EngineSection:
    """Parses the section's contents.

    Args:
        data: the bytes of ``.wasmtime.engine``.

    Raises:
        ArtifactError: damaged, or of a layout that no wasmtime from 3 to 50 writes.
    """
    if len(data) < 2:
        raise ArtifactError(f"{ENGINE_SECTION}: ends too early")
    if data[0] != _LAYOUT_VERSION:
        raise ArtifactError(f"{ENGINE_SECTION}: unknown layout version {data[0]}")
    body = 2 + data[1]
    if body > len(data):
        raise ArtifactError(f"{ENGINE_SECTION}: ends too early")
    version = _printable(data[2:body], "the version")
    metadata = data[body:]
    cursor = _Cursor(metadata, bincode=metadata[1:8] == bytes(7))
    target = cursor.text("the target")
    shared = cursor.flags("shared flags")
    return EngineSection(version, target, shared, cursor.flags("ISA flags"))


def read_engine_section(artifact: bytes | memoryview) -> EngineSection:
    """Reads the engine section of a compiled module or component.

    Args:
        artifact: the whole .cwasm file, as ``Module.serialize()`` returns it.

    Raises:
        ArtifactError: not an ELF file, no engine section, more than one, or a damaged one.
    """
    found = [section for section in read_sections(artifact) if section.name == ENGINE_SECTION]
    if len(found) != 1:
        raise ArtifactError(
            f"{len(found)} sections {ENGINE_SECTION}: not an artifact of wasmtime 3 or later"
        )
    return parse_engine_section(found[0].data)
