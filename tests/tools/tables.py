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

from cpuprobe.facts.runtimes import Ceilings, Compiler, Items, Runtime, Setting
from cpuprobe.facts.tables import TableError, parse_toml
from tests.tools.feature_rows import check_arm_features, check_features, rows_of

PROFILES = Path(__file__).parents[2] / "profiles"


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
    if "features-aarch64" in tables:
        arm = check_arm_features(tables["features-aarch64"])
        tables["features-aarch64"] = {"feature": arm}
    tables["levels"] = {"level": check_levels(tables["levels"], names)}
    if "levels-aarch64" in tables:
        of_arm = {feature.name for feature in arm}
        rows = check_levels(tables["levels-aarch64"], of_arm, "levels-aarch64.toml")
        tables["levels-aarch64"] = {"level": rows}
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


# --- levels ---


def check_levels(
    table: Mapping[str, Any], features: set[str], file: str = "levels.toml"
) -> list[dict[str, Any]]:
    """The rows of levels.toml or of its like, each with what it extends."""
    levels: dict[str, dict[str, Any]] = {}
    for place, row in rows_of(table, "level", file, dict, "name"):
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
    for place, row in rows_of(table, "runtime", "knobs.toml", dict, "id"):
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
