"""Named sets of features: psABI levels, CPUs, distributions, policies, and the user's own.

The rows stand in `profiles/{cpus,distributions,policies}.toml` (the head of the first explains the
keys) and in TOML files of the same form in the user's folder.

Errors: a broken table of ours is a `tables.TableError`, a broken file of the user a
`CaptureError`; both are one line naming file and row.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from types import MappingProxyType

from cpuprobe.errors import CaptureError, UsageError, did_you_mean
from cpuprobe.facts.isa import facts_named
from cpuprobe.facts.profile_rows import Profile, Row, add_rows, missing, needed, resolve_rows
from cpuprobe.facts.tables import TableError, load_table, parse_strangers_toml
from cpuprobe.files import read_bounded

__all__ = [
    "KINDS",
    "Profile",
    "built_in_profiles",
    "find_profile",
    "load_profiles",
    "missing",
    "needed",
    "profiles_in",
    "user_folder",
]

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "level": "psABI micro-architecture levels",
        "cpu": "CPU families and the models of hypervisors",
        "gds-force": "CPUs affected by GDS under gather_data_sampling=force",
        "distribution": "what distributions are built for",
        "policy": "policies for wasmtime",
        "preset": "the installed wasmtime's presets",
        "user": "your own",
    }
)
"""Each kind of profile, in the order of lists, with its heading."""

_TABLES = {
    "x86-64": ("cpus", "distributions", "policies"),
    "aarch64": ("cpus-aarch64", "distributions-aarch64"),
}
_LEVEL_SOURCES = {
    "x86-64": 'x86-64 psABI, table "Micro-Architecture Levels"',
    "aarch64": "DDI 0487, A2, and what LLVM 22 enables for -march",
}

_MAXIMUM_BYTES = 1 << 20
_MAXIMUM_FILES = 1000


@functools.cache
def built_in_profiles(isa: str = "x86-64") -> Mapping[str, Profile]:
    """Ours of one instruction set by name: the levels, then the rows of our tables in their order.

    Raises:
        TableError: a table breaks a rule.
    """
    profiles: dict[str, Profile] = {
        level.name: Profile(
            name=level.name,
            kind="level",
            purpose=level.purpose,
            source=_LEVEL_SOURCES[isa],
            origin="levels.toml" if isa == "x86-64" else f"levels-{isa}.toml",
            features=frozenset(level.features),
            gcc=level.gcc,
            archspec=level.archspec or None,
            built_in=True,
            isa=isa,
        )
        for level in facts_named(isa).levels()
    }
    rows: dict[str, tuple[Row, str]] = {}
    for table in _TABLES[isa]:
        add_rows(rows, load_table(table), f"{table}.toml", profiles)
    return MappingProxyType({**profiles, **resolve_rows(rows, profiles, built_in=True)})


def _all_built_in() -> dict[str, Profile]:
    return {name: each for isa in _TABLES for name, each in built_in_profiles(isa).items()}


def load_profiles(*, lenient: bool = False, isa: str | None = "x86-64") -> Mapping[str, Profile]:
    """All profiles by name: levels, ours in the order of the tables, then those of the user.

    Args:
        lenient: take rows that name what they exclude, for `lint`.
        isa: only those of this instruction set; None for all.

    Raises:
        CaptureError: a file in the user's folder cannot be read as profiles.
        TableError: one of our own tables breaks a rule.
    """
    profiles = _all_built_in()
    for path in _files(user_folder()):
        profiles.update(_of_file(path, profiles, lenient))
    return MappingProxyType(
        {name: each for name, each in profiles.items() if isa in (None, each.isa)}
    )


def find_profile(name: str) -> Profile:
    """The profile that a user names: one of its names, or a TOML file that holds only one.

    Raises:
        UsageError: there is no such profile, or the file holds several.
        CaptureError: a user's file cannot be read as profiles.
    """
    if name.endswith(".toml") or os.sep in name:
        found = profiles_in(name)
        if len(found) != 1:
            raise UsageError(
                f"{name} holds {len(found)} profiles ({', '.join(found)}): put it into "
                "the folder of your profiles and give one by name"
            )
        return next(iter(found.values()))
    profiles = load_profiles(isa=None)
    others = {other: each for each in profiles.values() for other in each.also}
    if name not in profiles and name in others:
        return others[name]
    if name not in profiles:
        hint = did_you_mean(name, {*profiles, *others})
        raise UsageError(f"no profile {name}{hint}; `cpuprobe profile list` shows all")
    return profiles[name]


def profiles_in(path: str, *, lenient: bool = False) -> Mapping[str, Profile]:
    """The profiles of one TOML file, which may extend ours and those of the user's folder.

    Args:
        path: the file.
        lenient: as for `load_profiles`.

    Raises:
        CaptureError: the file cannot be read as profiles.
    """
    known = _all_built_in()
    for each in _files(user_folder()):
        if not _same_file(each, path):
            known.update(_of_file(each, known, lenient))
    return MappingProxyType(_of_file(path, known, lenient))


def user_folder() -> str | None:
    """Where a user's own profiles lie; None if there is no home.

    `$XDG_CONFIG_HOME/cpuprobe/profiles`, by default `~/.config/cpuprobe/profiles` (XDG Base
    Directory Specification).
    """
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "cpuprobe", "profiles") if os.path.isabs(base) else None


def _files(folder: str | None) -> list[str]:
    """The TOML files of the user's folder; opening anything else there might wait for ever."""
    if folder is None:
        return []
    paths = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.endswith(".toml"):
                    continue
                if not entry.is_file():
                    raise CaptureError(f"profiles: {entry.name!r} is not a regular file")
                paths.append(entry.path)
                if len(paths) > _MAXIMUM_FILES:
                    raise CaptureError(f"profiles: more than {_MAXIMUM_FILES} files of profiles")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CaptureError(
            f"profiles: the folder of your own: {error.strerror}; set HOME or XDG_CONFIG_HOME to "
            "one that may be read"
        ) from None
    return sorted(paths)


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _of_file(path: str, known: Mapping[str, Profile], lenient: bool) -> dict[str, Profile]:
    """The profiles of a user's file; everything wrong with it is a CaptureError."""
    try:
        name, content = read_bounded(path, _MAXIMUM_BYTES, ", no file of profiles is")
    except CaptureError as error:
        raise CaptureError(f"profiles: {_without_folder(str(error), path)}") from None
    file = os.path.basename(name)
    rows: dict[str, tuple[Row, str]] = {}
    try:
        add_rows(rows, parse_strangers_toml(content, file, "[[profile]]"), file, known)
        return resolve_rows(rows, known, lenient=lenient)
    except TableError as error:
        raise CaptureError(f"profiles: {error}") from None


def _without_folder(message: str, path: str) -> str:
    """The message with the file's name alone: where a home is, is nobody's business."""
    name = os.path.basename(path) or path
    if message.startswith(path):
        return name + message.removeprefix(path)
    return f"{name}: {message}"
