"""`make gen`: native/isa/x86_64/facts.h, the tables of profiles/ that the core judges by.

Features stand in the order of claims.h, so that a bit of a feature set means the same everywhere.
native/command/sentences.h has the words of findings.toml that cpuprobe-native says on a terminal.
`--check` compares and exits 1 on a difference.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cpuprobe.assessment.kernel import GVISOR_VERSION, OLDEST_IN_USE, release_number
from cpuprobe.facts.features import Encoding, X86Feature, load_features, load_levels, xcr0_mask
from cpuprobe.facts.gds import GDS_FILE
from cpuprobe.facts.tables import load_table
from cpuprobe.facts.wasmtime import known_versions
from tests.golden.regenerate import claims

_NATIVE = Path(__file__).parents[2] / "native"
HEADER = _NATIVE / "isa" / "x86_64" / "facts.h"
SENTENCES = _NATIVE / "command" / "sentences.h"
# The causes that the core argues from what it reads, and the findings that it can come to.
_CAUSES = (
    "gds",
    "gds-likely",
    "command-line",
    "kernel-too-old",
    "hypervisor",
    "emulator",
    "unknown",
)
_FINDINGS = ("CP101", "CP102", "CP201", "CP202", "CP301")
_WORDS = 2
_STEPPINGS = 16


class FactsError(ValueError):
    """A table says what the core has no place for."""


_ORDER = {name: place for place, (name, _) in enumerate(claims())}


def constant(name: str) -> str:
    """The enumerator that stands for a feature."""
    return "FEATURE_" + name.upper().replace(".", "_").replace("-", "_")


def bits(names: Iterable[str], order: Mapping[str, int]) -> str:
    """A set of features, a bit each, by their places."""
    value = sum(1 << order[name] for name in names)
    words = [f"{value >> 64 * word & (1 << 64) - 1:#x}" for word in range(_WORDS)]
    return f"BITS({', '.join(words)})"


def _bits(names: Iterable[str]) -> str:
    return bits(names, _ORDER)


def text(value: str | None) -> str:
    """A string of C, or NULL."""
    return "NULL" if value is None else f'"{value}"'


def release(value: str | tuple[int, ...] | None) -> str:
    """A Linux release; none is 0.0.0."""
    numbers = release_number(value) if isinstance(value, str) else value
    return f"RELEASE({', '.join(map(str, numbers or (0, 0, 0)))})"


def _feature(feature: X86Feature, place: int) -> str:
    encoding = feature.encoding.upper().replace("-", "_")
    gate = "NONE" if feature.os is None else feature.os.upper()
    kernel = feature.kernel
    return ", ".join(
        [
            constant(feature.name),
            f'"{feature.name}"',
            str(place),
            f"ENCODING_{encoding}",
            f"GATE_{gate}",
            _bits(load_features().closure(feature.name)),
            text(kernel.flag),
            release(kernel.since),
            str(feature.privileged).lower(),
            str(feature.hint).lower(),
        ]
    )


def _gds_rows(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        steppings = sum(1 << stepping for stepping in row.get("not_steppings", ()))
        if steppings >> _STEPPINGS:
            raise FactsError(f"{row['name']}: a stepping has four bits")
        for model in row["models"]:
            yield f'"{row["vendor"]}", {row["family"]:#x}, {model:#x}, {steppings:#x}'


def _detector_rows(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        for vendor in row["vendors"]:
            yield f'"{vendor}", {constant(row["without"])}, {_bits(row["hides"])}'


def _gates(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        name = row["gate"].upper().replace("-", "_")
        encoding = row["gate"] in typing.get_args(Encoding)
        place = f"ENCODING_{name}, -1" if encoding else f"-1, GATE_{name}"
        yield f'{place}, {release(row["linux"])}, "{row["linux"]}"'


def _kernel_age(rows: Iterable[dict[str, Any]]) -> tuple[int, ...]:
    """The release that the GDS file proves: the one such file that the core reads."""
    proved: tuple[int, ...] = (0, 0, 0)
    for row in rows:
        if row.get("words"):
            raise FactsError("kernel_age: the core looks for no words of the flags line")
        if GDS_FILE in row.get("vulnerabilities", ()):
            proved = max(proved, release_number(row["linux"]) or proved)
    return proved


def _flag_names() -> list[str]:
    """Every flag of any version, in the order of the newest that has it."""
    return list(dict.fromkeys(f for row in known_versions().values() for f in row.flags))


def _versions() -> tuple[list[str], list[str]]:
    """What versions know: the distinct sets of facts, and which of them each version has."""
    names = _flag_names()
    if len(names) > 32:
        raise FactsError("more flags than a word has bits")
    kinds: dict[str, int] = {}
    versions = []
    for row in known_versions().values():
        listed = ", ".join(str(names.index(flag)) for flag in row.flags)
        refuses = sum(1 << names.index(flag) for flag in row.refuses)
        kind = f"{len(row.flags)}, FLAGS({listed}), {refuses:#x}, {_bits(row.simd_floor)}"
        versions.append(f"{row.major}, {kinds.setdefault(kind, len(kinds))}")
    return list(kinds), versions


def macro(name: str, comment: str, rows: Iterable[str]) -> str:
    """A list of rows, as a macro that hands each to another."""
    return (
        f"\n/* {comment} */\n#define {name}(row)"
        + "".join(f" \\\n    row({r})" for r in rows)
        + "\n"
    )


def header() -> str:
    """The whole of facts.h.

    Raises:
        FactsError: a table says what the core has no place for.
    """
    table, quirks = load_features(), load_table("quirks")
    places = {name: place for place, name in enumerate(table)}
    flags = [
        f'"{name}", '
        + (constant(table.by_cranelift[name].name) if name in table.by_cranelift else "-1")
        for name in _flag_names()
    ]
    levels = [f'"{level.name}", {_bits(level.features)}' for level in load_levels()]
    rules = quirks["std_detect"]
    kinds, versions = _versions()
    return (
        "/* GENERATED by `make gen` from profiles/features.toml, levels.toml, wasmtime.toml and\n"
        " * quirks.toml: do not edit. */\n"
        "#ifndef CPUPROBE_FACTS_H\n#define CPUPROBE_FACTS_H\n"
        + macro(
            "EACH_FEATURE",
            "constant, name, place in features.toml, encoding, gate, all it builds on, name in\n"
            " * /proc/cpuinfo, first Linux that prints it, privileged, hint",
            (_feature(table[name], places[name]) for name in _ORDER),
        )
        + macro(
            "EACH_OTHER_FLAG",
            "a feature, another name in /proc/cpuinfo that says the same",
            (
                f"{constant(name)}, {text(table[name].kernel.also)}"
                for name in _ORDER
                if table[name].kernel.also is not None
            ),
        )
        + macro(
            "EACH_ENCODING",
            "constant, the XCR0 bits that it needs",
            (
                f"ENCODING_{name.upper().replace('-', '_')}, {xcr0_mask(name):#x}"
                for name in typing.get_args(Encoding)
            ),
        )
        + macro("EACH_LEVEL", "psABI level, all its features; lowest first", levels)
        + macro("EACH_FLAG", "a flag of Cranelift's, its feature", flags)
        + macro(
            "EACH_KIND_OF_WASMTIME",
            "its flags (how many, and in its own order), those it accepts on no host (bits), what\n"
            " * it needs for wasm SIMD",
            kinds,
        )
        + macro("EACH_WASMTIME", "major version, its kind; newest first", versions)
        + macro(
            "EACH_GDS_AFFECTED",
            "vendor, family, model, steppings without the flaw (bits)",
            _gds_rows(quirks["gds_affected"]),
        )
        + macro(
            "EACH_DETECTOR",
            "vendor, without this, Rust's std_detect hides these",
            _detector_rows(quirks["detector"]),
        )
        + macro(
            "EACH_ENABLED_SINCE",
            "an encoding or -1, a gate or -1, the first Linux that enables it, the same as text",
            _gates(quirks["enabled_since"]),
        )
        + "\n/* Reported by std_detect without a look at XCR0; what it wants in CPUID before it\n"
        " * reports any of AVX-512. */\n"
        f"#define DETECTED_UNGATED {_bits(rules['ungated'])}\n"
        f"#define DETECTOR_EVEX_ASKS {_bits(rules['evex_asks'])}\n"
        "\n/* What is believed of a kernel that does not tell its release, and more where it has\n"
        " * the file gather_data_sampling. */\n"
        f"#define OLDEST_IN_USE {release(OLDEST_IN_USE)}\n"
        f"#define PROVED_BY_GDS_FILE {release(_kernel_age(quirks['kernel_age']))}\n"
        f'#define GVISOR_VERSION "{GVISOR_VERSION}"\n'
        "\n#endif\n"
    )


def sentences() -> str:
    """The whole of sentences.h. Raises FactsError where a row is not there."""
    table = load_table("findings")
    causes = {row["id"]: row for row in table["cause"]}
    findings = {row["code"]: row for row in table["finding"]}
    if not {*_CAUSES} <= causes.keys() or not {*_FINDINGS} <= findings.keys():
        raise FactsError("findings.toml lacks a row that the core has words for")
    return (
        "/* GENERATED by `make gen` from profiles/findings.toml and quirks.toml: do not edit. */\n"
        "#ifndef CPUPROBE_SENTENCES_H\n#define CPUPROBE_SENTENCES_H\n"
        + macro(
            "EACH_CAUSE",
            "constant, why, what to do; {word} and {hypervisor} and the like are filled in",
            (
                f"CAUSE_{name.upper().replace('-', '_')}, "
                f"{_quoted(causes[name]['text'])}, {_quoted(causes[name]['remedy'])}"
                for name in _CAUSES
            ),
        )
        + macro(
            "EACH_FINDING",
            "code, what is wrong, what to do where the cause has nothing to say of it",
            (
                f"{code}, {_quoted(findings[code]['plain'])}, {_quoted(findings[code]['remedy'])}"
                for code in _FINDINGS
            ),
        )
        + macro(
            "EACH_HYPERVISOR",
            "its signature in CPUID, what people call it",
            (
                f"{_quoted(row['signature'])}, {_quoted(row['name'])}"
                for row in load_table("quirks")["hypervisor"]
            ),
        )
        + "\n#endif\n"
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if not escaped.isascii():
        raise FactsError(f"no ASCII: {text}")
    return f'"{escaped}"'


def main(arguments: list[str]) -> int:
    """Write the headers, or compare them with `--check`; returns the exit code."""
    made = {HEADER: header(), SENTENCES: sentences()}
    if arguments == ["--check"]:
        return int(any(path.read_text(encoding="ascii") != text for path, text in made.items()))
    for path, text in made.items():
        path.write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
