"""What a child is to run, and how it says that the program never began."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from cpuprobe.words import plain, visible

_MAX_MESSAGE = 2000


class Request(NamedTuple):
    """What to run.

    Attributes:
        name: the module's file name, its argv[0].
        module: its bytes, wasm or WAT.
        target: target triple.
        flags: every `has_*` flag with its value.
        invoke: the exported function to call; None means `_start` if there is one.
        args: the program's arguments, or the function's.
        env: pairs of environment variables.
        dirs: pairs of a folder here and its name for the program.
        wasm_features: names as in Config's `wasm_NAME`, to whether they are on.
        stub_imports: functions that trap stand for what it imports and does not get.
        cache: the folder in which compiled code is kept; None: nowhere.
    """

    name: str
    module: bytes
    target: str
    flags: Mapping[str, bool]
    invoke: str | None = None
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    dirs: tuple[tuple[str, str], ...] = ()
    wasm_features: Mapping[str, bool] = MappingProxyType({})
    stub_imports: bool = False
    cache: str | None = None


class Stop(Exception):
    """The run is over before the program began: kind and message of the ending."""

    def __init__(self, kind: str, message: str) -> None:
        """Kind as in `ending.Kind`, or `missing`; the message is one line."""
        super().__init__(message)
        self.kind = kind


def clean(text: str) -> str:
    """Text from wasmtime or a module, fit for a terminal."""
    return "\n".join(map(visible, text[:_MAX_MESSAGE].splitlines())).strip()


def one_line(text: str) -> str:
    """The same on one line."""
    return plain(text[:_MAX_MESSAGE])
