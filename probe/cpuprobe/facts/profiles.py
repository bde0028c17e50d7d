"""Named sets of features: psABI levels, CPUs, distributions, policies, and the user's own.

The rows stand in `profiles/{cpus,distributions,policies}.toml` (the head of the first explains the
keys) and in TOML files of the same form in the user's folder. A profile is what its row says, never
more: whether it is down-closed is for `lint` to tell, not for the loader to mend.

Errors: a broken table of ours is a `features.TableError`, a broken file of the user a
`CaptureError`; both are one line naming file and row.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec

from cpuprobe.errors import CaptureError, UsageError, did_you_mean
from cpuprobe.facts.features import (
    FeatureTable,
    TableError,
    load_features,
    load_levels,
    load_table,
    parse_toml,
)
from cpuprobe.files import read_bounded

__all__ = [
    "KINDS",
    "Archspec",
    "Problem",
    "Profile",
    "archspec_facts",
    "built_in_profiles",
    "find_profile",
    "lint",
    "load_profiles",
    "missing",
    "needed",
    "problems",
    "profiles_in",
    "user_folder",
]

Kind = Literal["level", "cpu", "gds-force", "distribution", "policy", "preset", "user"]

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

_TABLES = ("cpus", "distributions", "policies")
_NOT_STATED = "not stated"
_LEVEL_SOURCE = 'x86-64 psABI, table "Micro-Architecture Levels"'
_LEVEL_PURPOSE = {
    "x86-64-v1": "The baseline of every x86-64 CPU",
    "x86-64-v2": "Nehalem and later: SSE4.2, POPCNT, CMPXCHG16B",
    "x86-64-v3": "Haswell and later: AVX2, FMA, BMI, LZCNT, MOVBE",
    "x86-64-v4": "Skylake-X and later: AVX-512 F, BW, CD, DQ, VL",
}
# archspec 0.2.7, microarchitectures.json.
_LEVEL_ARCHSPEC = {
    "x86-64-v1": "x86_64",
    "x86-64-v2": "x86_64_v2",
    "x86-64-v3": "x86_64_v3",
    "x86-64-v4": "x86_64_v4",
}

_MAXIMUM_BYTES = 1 << 20
_MAXIMUM_FILES = 1000
# The TOML parser goes through all the parts of a table's name for every key below it.
_MAXIMUM_HEADER = 200

Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")]
Line = Annotated[str, msgspec.Meta(pattern=r"\A(?!\s)[^\x00-\x1f\x7f-\x9f]{1,500}(?<!\s)\Z")]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A named set of features.

    Attributes:
        name: unique among all profiles.
        kind: see `KINDS`.
        purpose: one line.
        source: where the facts come from.
        origin: the file it stands in.
        year: of first release, None where that means nothing.
        extends: the profiles it builds on.
        features: what the profile holds: what a machine must have to meet it.
        mask: whether the profile asks for nothing and only forbids `withheld`.
        withheld: what a mask forbids.
        gcc: GCC's and LLVM's name for -march, where there is one.
        archspec: the microarchitecture's name in archspec, where it knows it.
        preset: the name of the wasmtime preset meant for the same CPUs, where there is one.
        built_in: whether it comes with cpuprobe.
        contradictory: what its row both names and excludes; only `lint` may see such a profile.
        idle: what its row excludes though there was nothing to take away.
    """

    name: str
    kind: Kind
    purpose: str
    source: str
    origin: str
    features: frozenset[str]
    year: int | None = None
    extends: tuple[str, ...] = ()
    mask: bool = False
    withheld: frozenset[str] = frozenset()
    gcc: str | None = None
    archspec: str | None = None
    preset: str | None = None
    built_in: bool = False
    contradictory: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()

    def permits(self, feature: str) -> bool:
        """Whether a program made for this profile may use the feature."""
        return feature not in self.withheld if self.mask else feature in self.features


class Problem(msgspec.Struct, frozen=True):
    """Something incoherent in a profile.

    Attributes:
        profile: its name.
        feature: what the profile has.
        lacks: what that feature implies and the profile does not have; empty for another problem.
        text: the problem in one line.
        severity: a warning is for something that has no effect.
    """

    profile: str
    feature: str
    lacks: tuple[str, ...]
    text: str
    severity: Literal["error", "warning"] = "error"


class Archspec(msgspec.Struct, frozen=True):
    """What archspec knows of a microarchitecture.

    Attributes:
        library: its name and version.
        name: its name for the microarchitecture.
        vendor: as in CPUID, or `generic`.
        generation: its number among those of the vendor; 0 if archspec gives none.
        ancestors: what it builds on, the nearest first.
        options: compiler to the options for its newest releases.
    """

    library: str
    name: str
    vendor: str
    generation: int
    ancestors: tuple[str, ...]
    options: dict[str, str]


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One [[profile]] row; the head of profiles/cpus.toml explains the keys."""

    name: Name
    purpose: Line
    source: Line = _NOT_STATED
    kind: Literal["cpu", "gds-force", "distribution", "policy", "user"] = "user"
    year: Annotated[int, msgspec.Meta(ge=1970, le=2200)] | None = None
    extends: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    gcc: Line | None = None
    archspec: Line | None = None
    preset: Line | None = None


@functools.cache
def built_in_profiles() -> Mapping[str, Profile]:
    """Ours by name: the levels, then the rows of our tables in their order.

    Raises:
        TableError: a table breaks a rule.
    """
    profiles: dict[str, Profile] = {
        level.name: Profile(
            name=level.name,
            kind="level",
            purpose=_LEVEL_PURPOSE.get(level.name, level.name),
            source=_LEVEL_SOURCE,
            origin="levels.toml",
            features=frozenset(level.features),
            gcc="x86-64" if level.name == "x86-64-v1" else level.name,
            archspec=_LEVEL_ARCHSPEC.get(level.name),
            built_in=True,
        )
        for level in load_levels()
    }
    rows: dict[str, tuple[_Row, str]] = {}
    for table in _TABLES:
        _add_rows(rows, load_table(table), f"{table}.toml", profiles)
    return MappingProxyType({**profiles, **_resolve(rows, profiles, built_in=True)})


def load_profiles(*, lenient: bool = False) -> Mapping[str, Profile]:
    """All profiles by name: levels, ours in the order of the tables, then those of the user.

    Args:
        lenient: take rows that name what they exclude, for `lint`.

    Raises:
        CaptureError: a file in the user's folder cannot be read as profiles.
        TableError: one of our own tables breaks a rule.
    """
    profiles = dict(built_in_profiles())
    for path in _files(user_folder()):
        profiles.update(_of_file(path, profiles, lenient))
    return MappingProxyType(profiles)


def find_profile(name: str) -> Profile:
    """The profile that a user names: its name, or the path of a TOML file that holds only one.

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
    profiles = load_profiles()
    if name not in profiles:
        hint = did_you_mean(name, profiles)
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
    known = dict(built_in_profiles())
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


def needed(profile: Profile) -> frozenset[str]:
    """What a machine must have to meet a profile.

    Hints, what only the kernel can use and names for bundles are facts about a CPU, but no program
    can need them and no execution confirms them.
    """
    table = load_features()
    return frozenset(name for name in profile.features if table[name].for_programs)


def missing(profile: Profile, safe: Iterable[str]) -> tuple[str, ...]:
    """What a machine with the features `safe` lacks of a profile, in the order of the table."""
    lacking = needed(profile).difference(safe)
    return tuple(name for name in load_features() if name in lacking)


def problems(profile: Profile) -> tuple[Problem, ...]:
    """Where a profile is not down-closed: it has a feature without all that this one implies.

    For a preset of wasmtime only those features count for which wasmtime has a flag: the rest it
    cannot say.
    """
    table = load_features()
    sayable = {f.name for f in table.by_cranelift.values()} if profile.kind == "preset" else table
    found = []
    for name in table:
        if name not in profile.features:
            continue
        closure = table.closure(name)
        lacks = tuple(each for each in table if each in closure and each in sayable)
        lacks = tuple(each for each in lacks if each not in profile.features)
        if lacks:
            text = f"has {name} without {', '.join(lacks)}"
            found.append(Problem(profile.name, name, lacks, text))
    return tuple(found)


def lint(profiles: Iterable[Profile], known: Mapping[str, Profile]) -> Iterator[Problem]:
    """Everything incoherent in some profiles, and as warnings what has no effect.

    Of presets only what `problems` tells: they are sets of flags, with no rows behind them.

    Args:
        profiles: those to look at.
        known: all that there are, to find sets that have a name already.
    """
    for profile in profiles:
        yield from problems(profile)
        for feature in profile.contradictory:
            text = f"names {feature} and excludes it"
            yield Problem(profile.name, feature, (), text)
        if profile.built_in and profile.source == _NOT_STATED:
            yield Problem(profile.name, "", (), "has no source")
        for name in profile.idle:
            text = f"excludes {name}, which it would not have anyway"
            yield Problem(profile.name, "", (), text, "warning")
        twin = None if profile.built_in or profile.kind == "preset" else _twin(profile, known)
        if twin is not None:
            text = f"is the same set as {twin.name}"
            yield Problem(profile.name, "", (), text, "warning")


def _twin(profile: Profile, known: Mapping[str, Profile]) -> Profile | None:
    """The first other profile with the same features, or the same mask."""
    for other in known.values():
        if other.name == profile.name:
            return None
        if (
            other.mask == profile.mask
            and other.features == profile.features
            and other.withheld == profile.withheld
        ):
            return other
    return None


def archspec_facts(profile: Profile) -> Archspec | None:
    """What the installed archspec says of the profile's microarchitecture.

    None where the profile names none, archspec is not installed or does not know it.
    """
    if profile.archspec is None:
        return None
    try:
        from archspec.cpu import TARGETS
    except ImportError:
        return None
    from importlib.metadata import version

    target: Any = TARGETS.get(profile.archspec)
    if target is None:
        return None
    options = {}
    for compiler in ("gcc", "clang"):
        for entry in target.compilers.get(compiler, ()):
            # A range of releases without an end goes up to the newest.
            if str(entry["versions"]).endswith(":"):
                options[compiler] = entry["flags"].format(name=entry.get("name", target.name))
    return Archspec(
        library=f"archspec {version('archspec')}",
        name=target.name,
        vendor=target.vendor,
        generation=target.generation,
        ancestors=tuple(each.name for each in target.ancestors),
        options=options,
    )


# --- from rows to profiles ---


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
        raise CaptureError(f"profiles: the folder of your own: {error.strerror}") from None
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
    rows: dict[str, tuple[_Row, str]] = {}
    try:
        if any(
            len(line) > _MAXIMUM_HEADER and line.lstrip(b" \t").startswith(b"[")
            for line in content.splitlines()
        ):
            raise TableError(f"{file}: only [[profile]] rows may stand here")
        _add_rows(rows, parse_toml(content, file), file, known)
        return _resolve(rows, known, lenient=lenient)
    except TableError as error:
        raise CaptureError(f"profiles: {error}") from None


def _without_folder(message: str, path: str) -> str:
    """The message with the file's name alone: where a home is, is nobody's business."""
    name = os.path.basename(path) or path
    if message.startswith(path):
        return name + message.removeprefix(path)
    return f"{name}: {message}"


def _add_rows(
    rows: dict[str, tuple[_Row, str]],
    table: Mapping[str, Any],
    file: str,
    known: Mapping[str, Profile],
) -> None:
    """Checks the rows of one file and adds them, each with the file it stands in."""
    found = table.get("profile")
    if set(table) != {"profile"} or not isinstance(found, list) or not found:
        raise TableError(f"{file}: only [[profile]] rows may stand here, and at least one")
    for number, raw in enumerate(found, 1):
        place = f"{file}: [[profile]] row {number}"
        try:
            row = msgspec.convert(raw, _Row)
        except msgspec.ValidationError as error:
            raise TableError(f"{place}: {' '.join(str(error).split())}") from None
        if row.name in rows or row.name in known:
            other = rows[row.name][1] if row.name in rows else known[row.name].origin
            raise TableError(f"{place}: the name {row.name!r} is used in {other} too")
        rows[row.name] = (row, file)


def _resolve(
    rows: Mapping[str, tuple[_Row, str]],
    known: Mapping[str, Profile],
    *,
    built_in: bool = False,
    lenient: bool = False,
) -> dict[str, Profile]:
    """Every row with what it extends, in the order of the rows."""
    table = load_features()
    done: dict[str, Profile] = {}

    def resolve(name: str, path: tuple[str, ...]) -> Profile:
        if name in done:
            return done[name]
        row, file = rows[name]
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            raise TableError(f"{file}: {row.name!r} extends itself: {circle}")
        bases = []
        for base in row.extends:
            if base in rows:
                if len(path) > 100:
                    raise TableError(f"{file}: {row.name!r} extends too many profiles in a row")
                bases.append(resolve(base, (*path, name)))
            elif base in known:
                bases.append(known[base])
            else:
                raise TableError(f"{file}: {row.name!r} extends the unknown profile {base!r}")
        profile = _make(row, file, bases, table)
        if profile.contradictory and not lenient:
            both = ", ".join(profile.contradictory)
            raise TableError(f"{file}: {row.name!r}: both has and excludes {both}")
        if built_in:
            profile = msgspec.structs.replace(profile, built_in=True)
        done[name] = profile
        return profile

    return {name: resolve(name, ()) for name in rows}


def _make(row: _Row, file: str, bases: list[Profile], table: FeatureTable) -> Profile:
    place = f"{file}: {row.name!r}"
    own: set[str] = set()
    for name in row.features:
        if name not in table:
            raise TableError(f"{place}: unknown feature {name!r}")
        own.add(name)
    for flag in row.flags:
        if flag not in table.by_cranelift:
            raise TableError(f"{place}: unknown flag {flag!r}")
        feature = table.by_cranelift[flag].name
        # What it needs and no flag can say (SSE2 for has_sse3) goes without saying.
        own.add(feature)
        own |= {each for each in table.closure(feature) if table[each].cranelift is None}
    inherited = frozenset[str]().union(*(base.features for base in bases))
    gone: set[str] = set()
    idle = []
    for name in row.without:
        if name in table.groups:
            named = table.groups[name]
        elif name in table:
            named = (name,)
        else:
            raise TableError(f"{place}: without: neither a feature nor a group: {name!r}")
        taken = {feature for each in named for feature in (each, *table.dependents(each))}
        if not taken & (own | inherited):
            idle.append(name)
        gone |= taken
    mask = not own and (not bases or any(base.mask for base in bases))
    if mask and not all(base.mask for base in bases):
        raise TableError(f"{place}: extends both sets and policies that only forbid")
    if not mask and any(base.mask for base in bases):
        raise TableError(f"{place}: a policy that only forbids cannot be extended with features")
    if mask and not gone and not bases:
        raise TableError(f"{place}: has neither features, flags, extends nor without")
    withheld = frozenset(gone).union(*(base.withheld for base in bases)) if mask else frozenset()
    return Profile(
        name=row.name,
        kind=row.kind,
        purpose=row.purpose,
        source=row.source,
        origin=file,
        year=row.year,
        extends=row.extends,
        features=frozenset() if mask else (inherited | own) - gone,
        mask=mask,
        withheld=withheld,
        gcc=row.gcc,
        archspec=row.archspec,
        preset=row.preset,
        contradictory=tuple(sorted(own & gone)),
        idle=() if mask else tuple(idle),
    )
