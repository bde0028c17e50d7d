"""The tables of facts, as plain data: `profiles/tables.json`, or a TOML file of the user's own.

Parsing TOML takes about as long as a whole run of the program may, so what runs is the content of
`profiles/*.toml` as `make gen` has checked and compiled it (tests/tools/tables.py).

Errors: a table that cannot be read is a `TableError` of one line.
"""

from __future__ import annotations

import functools
import os.path
import re
import sys
from typing import Any, TypeVar

import msgspec

_Kind = TypeVar("_Kind")

# The TOML parser goes through all the parts of a table's name for every key below it, and through
# all the parts of a key for each of them.
_MAXIMUM_HEADER = 200
_MAXIMUM_DOTS = 100
_QUOTED = re.compile(rb"\"[^\"\n]*\"|'[^'\n]*'")


class TableError(ValueError):
    """A table that cannot be read or breaks a rule; one line, naming file and row."""


@functools.cache
def tables_folder() -> str:
    """The folder of the tables: `profiles/` of a checkout around this file, else the data package.

    The checkout comes first so that an installed copy cannot stand in for the edited tables.
    Raises TableError if there is neither.
    """
    package_folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    source_root = os.path.dirname(package_folder)
    beside = os.path.join(os.path.dirname(source_root), "profiles")
    if os.path.basename(source_root) == "probe" and os.path.isfile(
        os.path.join(beside, "features.toml")
    ):
        return beside
    import importlib

    try:
        package = importlib.import_module("cpuprobe_profiles")
    except ModuleNotFoundError:
        package = None
    if package is None or package.__file__ is None:
        raise TableError(
            f"the tables are missing: no package cpuprobe_profiles, no {beside}; reinstall cpuprobe"
        )
    return os.path.dirname(package.__file__)


@functools.cache
def _tables() -> dict[str, msgspec.Raw]:
    path = os.path.join(tables_folder(), "tables.json")
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=dict[str, msgspec.Raw])
    except (OSError, msgspec.DecodeError) as error:
        raise TableError(f"tables.json: {_one_line(error)}; reinstall cpuprobe") from None


def read_table(name: str, kind: type[_Kind]) -> _Kind:
    """The content of a table as `kind`. Raises TableError if there is no such table."""
    if name not in _tables():
        raise TableError(f"{name!r} is not the name of a table")
    return msgspec.json.decode(_tables()[name], type=kind)


@functools.cache
def load_table(name: str) -> dict[str, Any]:
    """The content of another table as plain data: `load_table("quirks")` is `quirks.toml`.

    The same object is returned each time: leave it unchanged. Raises TableError if there is no
    such table.
    """
    return read_table(name, dict[str, Any])


def parse_toml(content: bytes, file: str) -> dict[str, Any]:
    """The content of TOML as plain data; TableError of one line, naming `file`, if it is not."""
    import importlib

    # By name, so that one type check covers the Pythons with tomllib and the one with tomli.
    toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        table: dict[str, Any] = toml.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise TableError(f"{file}: not UTF-8 at byte {error.start}") from None
    except toml.TOMLDecodeError as error:
        raise TableError(f"{file}: not TOML: {_one_line(error)}") from None
    except RecursionError:
        raise TableError(f"{file}: not TOML that can be read: nested too deeply") from None
    except ValueError:  # a number with more digits than Python converts
        raise TableError(f"{file}: not TOML that can be read: too large a number") from None
    return table


def parse_strangers_toml(content: bytes, file: str, rows: str) -> dict[str, Any]:
    """The same of a file that may be made to cost time.

    Args:
        content: the file; how large it may be is up to its reader.
        file: for errors.
        rows: what may stand in it, for errors: `[[profile]]`.

    Raises:
        TableError: it is no TOML, or has names of more parts than any such file.
    """
    if any(_is_costly(line) for line in content.splitlines()):
        raise TableError(f"{file}: only {rows} rows may stand here")
    return parse_toml(content, file)


def _is_costly(line: bytes) -> bool:
    if len(line) > _MAXIMUM_HEADER and line.lstrip(b" \t").startswith(b"["):
        return True
    return line.count(b".") > _MAXIMUM_DOTS and _QUOTED.sub(b"", line).count(b".") > _MAXIMUM_DOTS


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
