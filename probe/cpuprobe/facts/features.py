"""The feature table and its companions: the only TOML reader of the project.

The facts stand in `profiles/*.toml`; nothing about a single feature stands here. Parsing TOML
takes about as long as a whole run of the program may, so `profiles/tables.json` carries the same
content with the SHA-256 of each TOML file it was made from. A table is taken from there only while
that digest matches the file on disk; otherwise the TOML itself is read and checked. Make it anew
with `python -m cpuprobe.facts.features --compile`.

Errors: everything wrong with a table is a `TableError` of one line, naming file and row.
"""

from __future__ import annotations

import contextlib
import functools
import os.path
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec

__all__ = [
    "CpuidBit",
    "Encoding",
    "Feature",
    "FeatureTable",
    "KernelFlag",
    "Level",
    "TableError",
    "compile_tables",
    "load_features",
    "load_levels",
    "load_table",
    "parse_toml",
    "read_toml",
    "tables_folder",
    "xcr0_mask",
]

Encoding = Literal["legacy", "vex-gpr", "vex", "evex", "amx", "apx"]
OsGate = Literal["osxsave", "ospke", "fsgsbase"]
Register = Literal["eax", "ebx", "ecx", "edx"]

_COMPILED = "tables.json"

# SDM vol. 1, section 13.1 numbers the state components: 1 SSE, 2 AVX, 5 opmask, 6 ZMM_Hi256,
# 7 Hi16_ZMM, 17 TILECFG, 18 TILEDATA, 19 APX. Which of them an encoding needs: sections 14.3 (AVX)
# and 15.2 (AVX-512), the chapter on AMX, and for APX Intel's document 355828.
_XCR0_MASK: dict[str, int] = {
    "legacy": 0,
    "vex-gpr": 0,
    "vex": 1 << 1 | 1 << 2,
    "evex": 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7,
    "amx": 1 << 17 | 1 << 18,
    "apx": 1 << 19,
}


class TableError(ValueError):
    """A table that cannot be read or breaks a rule; one line, naming file and row."""


class CpuidBit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where CPUID enumerates a feature: leaf (EAX), subleaf (ECX), register, bit number."""

    leaf: int
    subleaf: int
    register: Register
    bit: int

    def __str__(self) -> str:
        """The bit in the SDM's notation, say `CPUID.(EAX=07H,ECX=0):EBX[bit 5]`."""
        register = self.register.upper()
        return f"CPUID.(EAX={self.leaf:02X}H,ECX={self.subleaf}):{register}[bit {self.bit}]"


class KernelFlag(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name in /proc/cpuinfo and the first Linux release that lists it; both None if none does.

    `also` is another name whose presence says the same.
    """

    flag: str | None = None
    since: str | None = None
    never: bool = False
    also: str | None = None


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of `profiles/features.toml`; the head of that file explains the fields."""

    name: str
    title: str
    cpuid: CpuidBit
    encoding: Encoding
    os: OsGate | None = None
    implies: tuple[str, ...]
    kernel: KernelFlag
    cranelift: str | None = None
    rust: str | None = None
    gcc: str | None = None
    llvm: str | None = None
    iced: tuple[str, ...]
    group: str | None = None
    hint: bool = False
    privileged: bool = False
    bundle: bool = False
    source: str

    @property
    def xcr0(self) -> int:
        """The XCR0 bits that must be set before this feature may be used; see `xcr0_mask`."""
        return xcr0_mask(self.encoding)

    @property
    def for_programs(self) -> bool:
        """Whether a program can need it, and executing can confirm it.

        Not so are hints, what only the kernel can use, and names for a bundle of other features.
        """
        return not (self.hint or self.privileged or self.bundle)


class Level(msgspec.Struct, frozen=True):
    """A psABI micro-architecture level with all its features, those of lower levels first."""

    name: str
    features: tuple[str, ...]


class _LevelRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    features: tuple[str, ...]
    extends: str | None = None


class _Compiled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    table: msgspec.Raw


class FeatureTable(Mapping[str, Feature]):
    """The features by canonical name, in the order of the table.

    Built only from rows that `_check_features` has passed (or that were compiled from such rows).
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        """Index `features` by name."""
        self._features = {feature.name: feature for feature in features}

    def __getitem__(self, name: str) -> Feature:
        """The feature called `name`; KeyError if there is none."""
        return self._features[name]

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of the table."""
        return iter(self._features)

    def __len__(self) -> int:
        """The number of features."""
        return len(self._features)

    @functools.cached_property
    def _closures(self) -> dict[str, frozenset[str]]:
        closures: dict[str, frozenset[str]] = {}

        def resolve(name: str) -> frozenset[str]:
            if name not in closures:
                direct = self._features[name].implies
                closures[name] = frozenset(direct).union(*(resolve(each) for each in direct))
            return closures[name]

        for name in self._features:
            resolve(name)
        return closures

    def closure(self, name: str) -> frozenset[str]:
        """All that `name` implies, transitively, without `name` itself; KeyError if unknown."""
        return self._closures[name]

    def dependents(self, name: str) -> frozenset[str]:
        """Every feature whose closure holds `name`; KeyError if `name` is unknown."""
        self._features[name]
        return frozenset(each for each, implied in self._closures.items() if name in implied)

    @functools.cached_property
    def by_cranelift(self) -> Mapping[str, Feature]:
        """The feature behind each Cranelift setting (`has_avx2`)."""
        return MappingProxyType({f.cranelift: f for f in self.values() if f.cranelift is not None})

    @functools.cached_property
    def by_kernel_flag(self) -> Mapping[str, Feature]:
        """The feature behind each name of the `flags` line in /proc/cpuinfo."""
        return MappingProxyType(
            {f.kernel.flag: f for f in self.values() if f.kernel.flag is not None}
        )

    @functools.cached_property
    def by_iced(self) -> Mapping[str, Feature]:
        """The feature behind each name in iced-x86's CpuidFeature."""
        return MappingProxyType({name: f for f in self.values() for name in f.iced})

    @functools.cached_property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the features in each user-facing group, in the order of the table."""
        groups: dict[str, tuple[str, ...]] = {}
        for feature in self.values():
            if feature.group is not None:
                groups[feature.group] = (*groups.get(feature.group, ()), feature.name)
        return MappingProxyType(groups)

    def group(self, name: str) -> tuple[str, ...]:
        """The features of group `name` (`avx512`), in the table's order; KeyError if unknown."""
        return self.groups[name]


def xcr0_mask(encoding: Encoding) -> int:
    """The XCR0 bits that an encoding needs, all of them set (SDM vol. 1, chapters 13 to 18)."""
    return _XCR0_MASK[encoding]


def tables_folder() -> str:
    """The folder of the tables: `profiles/` of a checkout around this file, else the data package.

    The checkout comes first so that an installed copy cannot stand in for the edited tables.
    Raises TableError if there is neither.
    """
    source_root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
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


def load_features() -> FeatureTable:
    """The feature table of this installation, read once and kept.

    Raises TableError if it cannot be read or breaks a rule.
    """
    return _features_of(tables_folder())


def load_levels() -> tuple[Level, ...]:
    """The psABI levels, lowest first, each with what it extends included; read once and kept.

    Raises TableError if the table cannot be read or breaks a rule.
    """
    return _levels_of(tables_folder())


@functools.cache
def load_table(name: str) -> dict[str, Any]:
    """The content of another table as plain data: `load_table("quirks")` is `quirks.toml`.

    The same object is returned each time: leave it unchanged. Raises TableError if there is no
    such table or it is not TOML.
    """
    file = name if name.endswith(".toml") else f"{name}.toml"
    if file != os.path.basename(file):
        raise TableError(f"{name!r} is not the name of a table")
    folder = tables_folder()
    compiled = _compiled(folder, file)
    if compiled is not None:
        table: dict[str, Any] = msgspec.json.decode(compiled, type=dict[str, Any])
        return table
    return read_toml(os.path.join(folder, file))


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of any TOML file, as plain data; TableError of one line if that fails."""
    return parse_toml(_read(path), os.path.basename(path))


@functools.cache
def _features_of(folder: str) -> FeatureTable:
    compiled = _compiled(folder, "features.toml")
    if compiled is not None:
        rows = msgspec.json.decode(compiled, type=dict[str, tuple[Feature, ...]])
        return FeatureTable(rows["feature"])
    path = os.path.join(folder, "features.toml")
    return FeatureTable(_check_features(read_toml(path), "features.toml"))


@functools.cache
def _levels_of(folder: str) -> tuple[Level, ...]:
    compiled = _compiled(folder, "levels.toml")
    if compiled is None:
        table = read_toml(os.path.join(folder, "levels.toml"))
    else:
        table = msgspec.json.decode(compiled, type=dict[str, Any])
    return _check_levels(table, "levels.toml", _features_of(folder))


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TableError(f"{os.path.basename(path)}: {error.strerror}: {error.filename}") from None


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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


# --- the compiled form ---


def _sha256(content: bytes) -> str:
    """The digest in hexadecimal, by Python's own SHA-256 where it can be had.

    `hashlib` loads OpenSSL, which costs more time than everything else here together.
    """
    import importlib

    for module in ("_sha2", "_sha256", "hashlib"):  # Python 3.12 and later, 3.10 and 3.11, any
        with contextlib.suppress(ImportError, AttributeError):
            digest: str = importlib.import_module(module).sha256(content).hexdigest()
            return digest
    raise TableError("this Python has no SHA-256")


@functools.cache
def _compiled_tables(folder: str) -> dict[str, _Compiled]:
    try:
        with open(os.path.join(folder, _COMPILED), "rb") as file:
            content = file.read()
        return msgspec.json.decode(content, type=dict[str, _Compiled])
    except (OSError, msgspec.DecodeError):
        return {}  # The TOML answers instead; only `--compile` and its test care.


def _compiled(folder: str, file: str) -> msgspec.Raw | None:
    """The compiled table of `file` as JSON, if it was made from what the file holds now."""
    entry = _compiled_tables(folder).get(file)
    if entry is None or entry.sha256 != _sha256(_read(os.path.join(folder, file))):
        return None
    return entry.table


def compile_tables(folder: str | None = None) -> bytes:
    """One JSON document of all TOML files in `folder` (default: this installation's), checked.

    Returns an object: file name to its `sha256` (hexadecimal) and its content, `table`. The same
    files always give the same bytes. Raises TableError if a file breaks a rule or holds what JSON
    cannot.
    """
    if folder is None:
        folder = tables_folder()
    document: dict[str, dict[str, Any]] = {}
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".toml"):
            continue
        content = _read(os.path.join(folder, file))
        table = parse_toml(content, file)
        if msgspec.json.decode(msgspec.json.encode(table)) != table:
            raise TableError(f"{file}: holds a value that JSON cannot (a date, a time, inf or nan)")
        document[file] = {"sha256": _sha256(content), "table": table}
    for required in ("features.toml", "levels.toml"):
        if required not in document:
            raise TableError(f"{required}: missing in {folder}")
    features = FeatureTable(_check_features(document["features.toml"]["table"], "features.toml"))
    _check_levels(document["levels.toml"]["table"], "levels.toml", features)
    return msgspec.json.format(msgspec.json.encode(document), indent=0) + b"\n"


# --- the rules ---


def _rows(table: Mapping[str, Any], key: str, file: str) -> list[tuple[str, dict[str, Any]]]:
    """The rows of the only array `key` of a table, each with the words that name it in an error."""
    for other in table:
        if other != key:
            raise TableError(f"{file}: unknown key {other!r}, only [[{key}]] may stand here")
    rows = table.get(key)
    if not isinstance(rows, list) or not rows:
        raise TableError(f"{file}: no [[{key}]] rows")
    named = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise TableError(f"{file}: [[{key}]] row {number}: not a table")
        label = f" {row['name']!r}" if isinstance(row.get("name"), str) else ""
        named.append((f"{file}: [[{key}]] row {number}{label}", row))
    return named


def _check_features(table: Mapping[str, Any], file: str) -> tuple[Feature, ...]:
    features: list[Feature] = []
    where: dict[str, str] = {}
    taken: dict[tuple[str, Any], str] = {}

    def claim(kind: str, value: object, feature: Feature) -> None:
        owner = taken.setdefault((kind, value), feature.name)
        if owner != feature.name:
            raise TableError(f"{where[feature.name]}: {kind} {value} already belongs to {owner!r}")

    for place, row in _rows(table, "feature", file):
        try:
            feature = msgspec.convert(row, Feature)
        except msgspec.ValidationError as error:
            raise TableError(f"{place}: {_one_line(error)}") from None
        if feature.name in where:
            raise TableError(f"{place}: the name {feature.name!r} is used twice")
        where[feature.name] = place
        _check_row(feature, place)
        claim("the CPUID bit", feature.cpuid, feature)
        for kind, value in (
            ("the kernel flag", feature.kernel.flag),
            ("the Cranelift setting", feature.cranelift),
            ("the Rust name", feature.rust),
            ("the GCC name", feature.gcc),
            ("the LLVM name", feature.llvm),
        ):
            if value is not None:
                claim(kind, value, feature)
        for name in feature.iced:
            claim("the iced-x86 name", name, feature)
        features.append(feature)
    for feature in features:
        for name in feature.implies:
            if name not in where:
                raise TableError(f"{where[feature.name]}: implies the unknown feature {name!r}")
    _check_acyclic({feature.name: feature.implies for feature in features}, where)
    return tuple(features)


def _check_row(feature: Feature, place: str) -> None:
    for key in ("name", "title", "source", "cranelift", "rust", "gcc", "llvm", "group"):
        text = getattr(feature, key)
        if text is not None and (not text or text != text.strip()):
            raise TableError(f"{place}: {key} is empty or padded with blanks")
    bit = feature.cpuid
    if not 0 <= bit.bit <= 31:
        raise TableError(f"{place}: bit {bit.bit} is not within 0..31")
    for key, value in (("leaf", bit.leaf), ("subleaf", bit.subleaf)):
        if not 0 <= value <= 0xFFFF_FFFF:
            raise TableError(f"{place}: {key} {value} does not fit 32 bits")
    for key, names in (("implies", feature.implies), ("iced", feature.iced)):
        if len(set(names)) != len(names):
            raise TableError(f"{place}: {key} names something twice")
    kernel = feature.kernel
    if kernel.never:
        if kernel.flag is not None or kernel.since is not None:
            raise TableError(f"{place}: kernel has both never and a flag")
    elif kernel.flag is None or kernel.since is None:
        raise TableError(f"{place}: kernel needs flag and since, or never = true")
    elif not kernel.flag or not _is_version(kernel.since):
        raise TableError(
            f"{place}: since {kernel.since!r} of {kernel.flag!r} is not a Linux release"
        )


def _is_version(text: str) -> bool:
    parts = text.split(".")
    return 2 <= len(parts) <= 3 and all(part.isascii() and part.isdigit() for part in parts)


def _check_acyclic(implies: Mapping[str, tuple[str, ...]], where: Mapping[str, str]) -> None:
    """Raise TableError if a feature implies itself by any path (depth first, without recursion)."""
    done: set[str] = set()
    for start in implies:
        path = [start]
        pending = [iter(implies[start])]
        while path:
            step = next(pending[-1], None)
            if step is None:
                done.add(path.pop())
                pending.pop()
            elif step in path:
                cycle = " -> ".join([*path[path.index(step) :], step])
                raise TableError(f"{where[step]}: implies itself: {cycle}")
            elif step not in done:
                path.append(step)
                pending.append(iter(implies[step]))


def _check_levels(
    table: Mapping[str, Any], file: str, features: Mapping[str, Feature]
) -> tuple[Level, ...]:
    levels: dict[str, Level] = {}
    for place, row in _rows(table, "level", file):
        try:
            level = msgspec.convert(row, _LevelRow)
        except msgspec.ValidationError as error:
            raise TableError(f"{place}: {_one_line(error)}") from None
        if level.name in levels:
            raise TableError(f"{place}: the name {level.name!r} is used twice")
        inherited: tuple[str, ...] = ()
        if level.extends is not None:
            if level.extends not in levels:
                raise TableError(f"{place}: extends {level.extends!r}, which no row above defines")
            inherited = levels[level.extends].features
        for name in level.features:
            if name not in features:
                raise TableError(f"{place}: unknown feature {name!r}")
        total = inherited + level.features
        if len(set(total)) != len(total):
            raise TableError(f"{place}: names a feature twice, here or in what it extends")
        levels[level.name] = Level(level.name, total)
    return tuple(levels.values())


# --- python -m cpuprobe.facts.features ---


def _write_compiled() -> str:
    """Write the compiled tables beside the TOML files and return the path."""
    import tempfile

    folder = tables_folder()
    content = compile_tables(folder)
    path = os.path.join(folder, _COMPILED)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=_COMPILED, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise
    return path


def main(arguments: list[str]) -> int:
    """Run `python -m cpuprobe.facts.features --compile`; exit code 2: usage, 4: a bad table."""
    if arguments != ["--compile"]:
        print("usage: python -m cpuprobe.facts.features --compile", file=sys.stderr)
        return 2
    try:
        print(_write_compiled())
    except (TableError, OSError) as error:
        print(f"cpuprobe: {_one_line(error)}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
