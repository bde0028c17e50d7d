"""The core's own verdict on this machine: the flags for a wasmtime, where there is no more to say.

native/verdict.c judges by the tables and rules of `assessment` (tests hold the two together) and
is done before those tables could be read.
"""

from __future__ import annotations

from cpuprobe.extension import extension

_ROOM = 4096  # for the flags of any version: at most 32 of at most 27 letters


def native_flags(version: str) -> dict[str, bool] | None:
    """Every flag that a wasmtime knows: on where this machine can run it, else off.

    Args:
        version: of wasmtime, e.g. `50.0.1`.

    Returns:
        None where the assessment has to be asked: the version or the machine is not known well
        enough, or a flag is off for another reason than that the CPU does not claim its feature.
    """
    major = version.partition(".")[0]
    if not (major.isascii() and major.isdecimal() and len(major) < 9):
        return None
    ffi, lib = extension()
    if lib is None:
        return None
    out = ffi.new("char[]", _ROOM)
    length = lib.cpuprobe_native_flags(int(major), out, _ROOM)
    lines = ffi.string(out, length).decode("ascii").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {name: value == "true" for name, _, value in pairs} or None
