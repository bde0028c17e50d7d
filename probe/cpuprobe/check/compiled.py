"""What becomes of a WebAssembly module when the installed wasmtime compiles it."""

from __future__ import annotations

from typing import Literal

import msgspec

from cpuprobe.code.archives.table import kind_of_file
from cpuprobe.evidence.installed import installed_version

_MAGIC = b"\0asm"

# With which flags:
#   target    all that the machine has which files are held against
#   inferred  those that wasmtime turns on by itself on this machine
#   safe      this machine's safe ones
#   least     of the first those alone that the code uses
Setup = Literal["target", "inferred", "safe", "least"]


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """One way to compile a module.

    Attributes:
        setup: with which flags.
        flags: those that are on.
        features: what the code needs beyond x86-64-v1, each with the number of functions.
        expectation: what is to be expected of it on the machine that files are held against.
        message: wasmtime's words there, if it refuses it.
        same: for `least`: whether the code is the same, byte by byte, as with all flags.
        error: why it was not compiled; then nothing else is known.
    """

    setup: Setup
    flags: tuple[str, ...] = ()
    features: dict[str, int] = {}
    expectation: str | None = None
    message: str | None = None
    same: bool | None = None
    error: str | None = None


def is_module(path: str, named: bool = True) -> bool:
    """Whether a file is to be compiled: a module or component, or by its name the text of one.

    Args:
        path: the file.
        named: by the user; a module that was only met is passed over if there is no wasmtime.
    """
    kind = kind_of_file(path)
    found = kind is not None and (kind.start == _MAGIC or (named and path.endswith(".wat")))
    return found and (named or installed_version() is not None)
