"""The rows of features.toml and features-aarch64.toml: their columns, and the rules that hold.

Errors: everything wrong with a table is a `TableError` of one line, naming file and row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from cpuprobe.facts.aarch64 import ArmFeature
from cpuprobe.facts.features import Feature, X86Feature
from cpuprobe.facts.tables import TableError

_COMPILERS = ("rust", "gcc", "llvm")
_COMMON = {"cranelift", *_COMPILERS, "group", "hint", "privileged", "bundle", "source"}
_FURTHER = _COMMON | {"also", "os", "iced"}

_Row = TypeVar("_Row", bound=Feature)


def check_features(table: Mapping[str, Any]) -> tuple[X86Feature, ...]:
    """The rows of features.toml, whole: every default filled in."""
    return _checked(table, "features.toml", _feature, _claims)


def check_arm_features(table: Mapping[str, Any]) -> tuple[ArmFeature, ...]:
    """The rows of features-aarch64.toml, whole: every default filled in."""
    return _checked(table, "features-aarch64.toml", _arm_feature, _arm_claims)


def _checked(
    table: Mapping[str, Any],
    file: str,
    read: Callable[[list[Any]], _Row],
    claims: Callable[[_Row], Iterator[tuple[str, str]]],
) -> tuple[_Row, ...]:
    features: dict[str, _Row] = {}
    taken: dict[tuple[str, str], str] = {}
    for place, row in rows_of(table, "feature", file, list):
        try:
            feature = read(row)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise TableError(f"{place}: {' '.join(str(error).split())}") from None
        if feature.name in features:
            raise TableError(f"{place}: the name {feature.name!r} is used twice")
        for claim in claims(feature):
            owner = taken.setdefault(claim, feature.name)
            if owner != feature.name:
                raise TableError(f"{place}: {' '.join(claim)} already belongs to {owner!r}")
        features[feature.name] = feature
    _check_acyclic({name: feature.implies for name, feature in features.items()}, file)
    return tuple(features.values())


def _feature(row: list[Any]) -> X86Feature:
    name, where, encoding, implies, linux, title, further = row
    _check_texts(name, title, further, _FURTHER)
    leaf, subleaf, register, bits = where.replace(".", " ", 1).split()
    bit, width, least = _bits(bits)
    number = int(leaf, 16)
    if not (0 <= bit < bit + width <= 32 and 0 < least < 1 << width and number <= 0xFFFF_FFFF):
        raise ValueError(f"{where!r} is no bit of 32 in a leaf of 32 bits")
    kernel = _kernel(linux)
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
        {key: value for key, value in values.items() if key not in _COMPILERS or value}, X86Feature
    )


def _arm_feature(row: list[Any]) -> ArmFeature:
    name, fields, hwcap, encoding, implies, linux, title, further = row
    _check_texts(name, title, further, _COMMON)
    ids = [_id_field(each) for each in fields.split(" | ")]
    values = {
        "source": "; ".join(f"DDI 0487, D24.2, {each['register'].upper()}" for each in ids),
        "gcc": name,
        "llvm": name,
        **further,
        "name": name,
        "title": title,
        "id": ids,
        "encoding": encoding,
        "hint": encoding == "hint",
        "implies": implies.split(),
        "kernel": _kernel(linux),
    }
    if hwcap != "never":
        word, bit = hwcap.split()
        if not 0 <= int(bit) < 64:
            raise ValueError(f"{hwcap!r} is no bit of 64")
        values["hwcap"] = {"word": word, "bit": int(bit)}
    return msgspec.convert(
        {key: value for key, value in values.items() if key not in _COMPILERS or value}, ArmFeature
    )


def _id_field(text: str) -> dict[str, Any]:
    """`isar0 23:20>=2`, or `pfr0 19:16s>=0` of a signed field."""
    match = re.fullmatch(r"([a-z]+[0-9]) (\d+):(\d+)(s?)>=(\d+)", text, re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is no field of an ID register")
    high, low, least = int(match[2]), int(match[3]), int(match[5])
    if not (low <= high < 64 and 0 <= least < 1 << (high - low + 1)):
        raise ValueError(f"{text!r} is no field of 64 bits, or never holds that value")
    signed = {"signed": True} if match[4] else {}
    register = f"id_aa64{match[1]}_el1"
    return {
        "register": register, "lsb": low, "width": high - low + 1, "at_least": least, **signed
    }  # fmt: skip


def _check_texts(name: str, title: str, further: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(further.keys() - known)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}")
    texts = {"name": name, "title": title, **{k: v for k, v in further.items() if k != "iced"}}
    for key, text in texts.items():
        if isinstance(text, str) and (text != text.strip() or (not text and key not in _COMPILERS)):
            raise ValueError(f"{key} is empty or padded with blanks")


def _kernel(linux: str) -> dict[str, str]:
    kernel = {} if linux == "never" else dict(zip(("flag", "since"), linux.split(), strict=True))
    if kernel and not _is_version(kernel["since"]):
        raise ValueError(f"since {kernel['since']!r} is not a Linux release")
    return kernel


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


def _claims(feature: X86Feature) -> Iterator[tuple[str, str]]:
    yield "the CPUID bit", str(feature.cpuid)
    yield from _names(feature)
    for name in feature.iced:
        yield "the iced-x86 name", name


def _arm_claims(feature: ArmFeature) -> Iterator[tuple[str, str]]:
    for field in feature.id:
        yield "the field", str(field)
    if feature.hwcap is not None:
        yield "the bit", str(feature.hwcap)
    yield from _names(feature)


def _names(feature: Feature) -> Iterator[tuple[str, str]]:
    for kind, value in (
        ("the kernel flag", feature.kernel.flag),
        ("the Cranelift setting", feature.cranelift),
        ("the Rust name", feature.rust),
        ("the GCC name", feature.gcc),
        ("the LLVM name", feature.llvm),
    ):
        if value is not None:
            yield kind, value


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


def rows_of(
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
