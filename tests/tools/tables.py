"""`make gen`: checks profiles/*.toml by their own rules and compiles them into tables.json.

The rules stand here and not in the program, which reads what was compiled. Errors: everything wrong
with a table is a `TableError` of one line, naming file and row.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cpuprobe.facts.features import Feature
from cpuprobe.facts.runtimes import Ceilings, Compiler, Items, Runtime, Setting
from cpuprobe.facts.tables import TableError, parse_toml

PROFILES = Path(__file__).parents[2] / "profiles"

_FURTHER = {
    "also", "os", "cranelift", "rust", "gcc", "llvm", "iced", "group", "hint", "privileged",
    "bundle", "source",
}  # fmt: skip
_COMPILERS = ("rust", "gcc", "llvm")


def compiled(folder: Path = PROFILES) -> bytes:
    """One JSON document of all TOML files in `folder`, checked: file name without suffix to table.

    The same files always give the same bytes, a row a line.
    """
    tables: dict[str, Any] = {}
    for path in sorted(folder.glob("*.toml")):
        table = parse_toml(path.read_bytes(), path.name)
        if msgspec.json.decode(msgspec.json.encode(table)) != table:
            raise TableError(f"{path.name}: holds a value that JSON cannot (a date, inf or nan)")
        tables[path.stem] = table
    features = check_features(tables["features"])
    names = {feature.name for feature in features}
    tables["features"] = {"feature": features}
    tables["levels"] = {"level": check_levels(tables["levels"], names)}
    if "knobs" in tables:
        check_runtimes(tables["knobs"], names)
    if "names" in tables:
        check_names(tables["names"], names)
    return "".join(_written(tables)).encode()


def _written(tables: Mapping[str, Any]) -> Iterator[str]:
    for number, (name, table) in enumerate(tables.items()):
        yield f'{"{" if number == 0 else ","}\n"{name}":{{'
        for place, (key, value) in enumerate(table.items()):
            yield f'{"," if place else ""}\n "{key}":'
            if isinstance(value, (list, tuple)) and value and not isinstance(value[0], str):
                rows = [msgspec.json.encode(row).decode() for row in value]
                yield "[\n  " + ",\n  ".join(rows) + "]"
            else:
                yield msgspec.json.encode(value).decode()
        yield "}"
    yield "}\n"


def check_names(table: Mapping[str, Any], features: Collection[str]) -> None:
    """The rows of names.toml: every key is a feature, every name can be typed."""
    for dialect, row in table.items():
        for feature, name in row.get("names", {}).items():
            if feature not in features:
                raise TableError(f"names.toml: {dialect}: {feature!r} is not a feature")
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*( [A-Za-z0-9_.-]+)*", name):
                raise TableError(f"names.toml: {dialect}: {feature}: {name!r} is not a name")
        unknown = set(row.get("recent", ())) - set(row["names"]) if "names" in row else set()
        if unknown:
            raise TableError(f"names.toml: {dialect}: recent {min(unknown)!r} has no name")


# --- features ---


def check_features(table: Mapping[str, Any]) -> tuple[Feature, ...]:
    """The rows of features.toml, whole: every default filled in."""
    file = "features.toml"
    features: dict[str, Feature] = {}
    taken: dict[tuple[str, str], str] = {}
    for place, row in _rows(table, "feature", file, list):
        try:
            feature = _feature(row)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise TableError(f"{place}: {' '.join(str(error).split())}") from None
        if feature.name in features:
            raise TableError(f"{place}: the name {feature.name!r} is used twice")
        for claim in _claims(feature):
            owner = taken.setdefault(claim, feature.name)
            if owner != feature.name:
                raise TableError(f"{place}: {' '.join(claim)} already belongs to {owner!r}")
        features[feature.name] = feature
    _check_acyclic({name: feature.implies for name, feature in features.items()}, file)
    return tuple(features.values())


def _feature(row: list[Any]) -> Feature:
    name, where, encoding, implies, linux, title, further = row
    unknown = sorted(further.keys() - _FURTHER)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}")
    leaf, subleaf, register, bits = where.replace(".", " ", 1).split()
    bit, width, least = _bits(bits)
    number = int(leaf, 16)
    texts = {"name": name, "title": title, **{k: v for k, v in further.items() if k != "iced"}}
    for key, text in texts.items():
        if isinstance(text, str) and (text != text.strip() or (not text and key not in _COMPILERS)):
            raise ValueError(f"{key} is empty or padded with blanks")
    if not (0 <= bit < bit + width <= 32 and 0 < least < 1 << width and number <= 0xFFFF_FFFF):
        raise ValueError(f"{where!r} is no bit of 32 in a leaf of 32 bits")
    kernel = {} if linux == "never" else dict(zip(("flag", "since"), linux.split(), strict=True))
    if kernel and not _is_version(kernel["since"]):
        raise ValueError(f"since {kernel['since']!r} is not a Linux release")
    also = {"also": further["also"]} if "also" in further else {}
    capitals = name.upper().replace(".", "_").replace("-", "_")
    values = {
        "source": _source(number, int(subleaf, 16), register, bits),
        **dict.fromkeys(_COMPILERS, name),
        **{key: value for key, value in further.items() if key not in ("also", "iced")},
        "name": name,
        "title": title,
        "cpuid": {
            "leaf": number,
            "subleaf": int(subleaf, 16),
            "register": register,
            "bit": bit,
            **({} if width == 1 else {"width": width, "least": least}),
        },
        "encoding": encoding,
        "implies": implies.split(),
        "kernel": {**kernel, **also},
        "iced": further.get("iced", capitals).split(),
    }
    return msgspec.convert(
        {key: value for key, value in values.items() if key not in _COMPILERS or value}, Feature
    )


def _bits(text: str) -> tuple[int, int, int]:
    """The lowest bit, how many there are and the least value: of `5`, or of `7:0>=2`."""
    if ">=" not in text:
        return int(text), 1, 1
    place, least = text.split(">=")
    high, low = (int(each) for each in place.split(":"))
    return low, high - low + 1, int(least)


def _source(leaf: int, subleaf: int, register: str, bit: str) -> str:
    place = f"{register.upper()}[{bit}]"
    if leaf >= 0x8000_0000:
        return f"APM vol. 3, appendix E, Fn{leaf >> 16:04X}_{leaf & 0xFFFF:04X}_{place}"
    number = f"{leaf:02X}H" if leaf == 1 else f"({leaf:02X}H,{subleaf})"
    return f"SDM vol. 2A, CPUID.{number}:{place}"


def _claims(feature: Feature) -> Iterator[tuple[str, str]]:
    yield "the CPUID bit", str(feature.cpuid)
    for kind, value in (
        ("the kernel flag", feature.kernel.flag),
        ("the Cranelift setting", feature.cranelift),
        ("the Rust name", feature.rust),
        ("the GCC name", feature.gcc),
        ("the LLVM name", feature.llvm),
    ):
        if value is not None:
            yield kind, value
    for name in feature.iced:
        yield "the iced-x86 name", name


def _is_version(text: str) -> bool:
    parts = text.split(".")
    return 2 <= len(parts) <= 3 and all(part.isascii() and part.isdigit() for part in parts)


def _check_acyclic(implies: Mapping[str, tuple[str, ...]], file: str) -> None:
    def follow(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            raise TableError(f"{file}: {name!r} implies itself: {circle}")
        if name not in implies:
            raise TableError(f"{file}: {path[-1]!r} implies the unknown feature {name!r}")
        if len(set(implies[name])) != len(implies[name]):
            raise TableError(f"{file}: {name!r}: implies names something twice")
        for each in implies[name]:
            follow(each, (*path, name))

    for name in implies:
        follow(name, ())


# --- levels ---


def check_levels(table: Mapping[str, Any], features: set[str]) -> list[dict[str, Any]]:
    """The rows of levels.toml, each with what it extends."""
    file = "levels.toml"
    levels: dict[str, dict[str, Any]] = {}
    for place, row in _rows(table, "level", file, dict, "name"):
        name, below = row.get("name"), row.get("extends")
        if row.keys() - {"extends"} != {"name", "features", "purpose", "gcc", "archspec"}:
            raise TableError(f"{place}: a key is missing or not known")
        if name in levels:
            raise TableError(f"{place}: the name {name!r} is used twice")
        if below is not None and below not in levels:
            raise TableError(f"{place}: extends {below!r}, which no row above defines")
        whole = [*(levels[below]["features"] if below else ()), *row["features"]]
        for each in whole:
            if each not in features:
                raise TableError(f"{place}: unknown feature {each!r}")
        if len(set(whole)) != len(whole):
            raise TableError(f"{place}: names a feature twice, here or in what it extends")
        levels[name] = {**row, "features": whole}
        levels[name].pop("extends", None)
    return list(levels.values())


# --- runtimes ---


def check_runtimes(table: Mapping[str, Any], features: set[str]) -> tuple[Runtime, ...]:
    """The rows of knobs.toml."""
    runtimes: list[Runtime] = []
    taken: dict[tuple[str, str], str] = {}
    for place, row in _rows(table, "runtime", "knobs.toml", dict, "id"):
        try:
            runtime = msgspec.convert(row, Runtime)
        except msgspec.ValidationError as error:
            raise TableError(f"{place}: {' '.join(str(error).split())}") from None
        claims = [("the id", runtime.id)]
        claims += [("the module pattern", pattern.lower()) for pattern in runtime.modules]
        claims += [("the dialect", each.dialect) for each in runtime.settings if each.dialect]
        for claim in claims:
            if taken.setdefault(claim, place) != place:
                raise TableError(f"{place}: {claim[0]} {claim[1]!r} is used twice")
        for pattern in runtime.modules:
            if not pattern.strip("*?.") or "/" in pattern:
                raise TableError(f"{place}: the module pattern {pattern!r} is no file name")
        for setting in runtime.settings:
            _check_setting(setting, f"{place}, setting {setting.example!r}", features)
        runtimes.append(runtime)
    return tuple(runtimes)


def _check_setting(setting: Setting, place: str, features: set[str]) -> None:
    used: list[tuple[str, str]] = []
    if isinstance(setting, Items):
        if bool(setting.names) == (setting.column is not None):
            raise TableError(f"{place}: needs either names or column")
        if doubled := [name for name, own in setting.names.items() if len(set(own)) != len(own)]:
            raise TableError(f"{place}: names of {doubled[0]!r}: one is doubled")
        if both := set(setting.stays) & setting.names.keys():
            raise TableError(f"{place}: stays: {both.pop()!r} has a name")
        used += [(key, name) for key in ("names", "stays") for name in getattr(setting, key)]
    if isinstance(setting, Compiler):
        used += [
            (k, name) for k in ("since", "needs", "implied", "skip") for name in getattr(setting, k)
        ]
        used += [("needs", name) for names in setting.needs.values() for name in names]
    if isinstance(setting, Ceilings):
        if len({step.name for step in setting.ceilings}) != len(setting.ceilings):
            raise TableError(f"{place}: ceilings: a name is doubled")
        used += [("ceilings", name) for step in setting.ceilings for name in step.features]
    for key, name in used:
        if name not in features:
            raise TableError(f"{place}: {key}: unknown feature {name!r}")


def _rows(
    table: Mapping[str, Any], key: str, file: str, kind: type[Any], name: str = ""
) -> Iterator[tuple[str, Any]]:
    """The rows of the only array `key` of a table, each with the words that name it in an error."""
    for other in table:
        if other != key:
            raise TableError(f"{file}: unknown key {other!r}, only {key} may stand here")
    rows = table.get(key)
    if not isinstance(rows, list) or not rows:
        raise TableError(f"{file}: no {key} rows")
    for number, row in enumerate(rows, 1):
        place = f"{file}: {key} row {number}"
        if not isinstance(row, kind):
            raise TableError(f"{place}: not a row")
        label = row.get(name) if isinstance(row, dict) else next(iter(row), None)
        yield place if label is None else f"{place} {label!r}", row


def main() -> int:
    """Write tables.json; exit code 1 with one line if a table breaks a rule."""
    try:
        content = compiled()
    except TableError as error:
        print(error, file=sys.stderr)
        return 1
    (PROFILES / "tables.json").write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
