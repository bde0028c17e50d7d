"""NumPy: `show_runtime()` and `show_config()`: baseline, found and not found, by NumPy's groups."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import features_named, in_order
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Claims

_LIST = re.compile(
    r"[\"']?\b(baseline|found|not[_ ]found)[\"']?\s*[:=]\s*"
    r"(?:\[([^\]]{0,2000})\]|([A-Z][A-Z0-9_, ]*))"
)
_YAML = re.compile(r"[ \t]*(baseline|found|not found):[ \t]*$")
_ITEM = re.compile(r"[ \t]*-?[ \t]*([A-Z][A-Z0-9_]+)[ \t]*$")
_NAME = re.compile(r"[A-Z][A-Z0-9_]+")
# `__cpu_features__`: every name it knows with True or False, on one line or one a line
_ANSWER = re.compile(r"'([A-Z][A-Z0-9_]{1,15})': (True|False)\b")
_EVERY_DICT_HAS = ("SSE42", "F16C", "AVX2")
# numpy/_core/src/common/npy_cpu_features.c: what a group stands for. A group that was not found
# lacks at least one of them, and nobody knows which.
_SKX = ("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl")
_CLX = (*_SKX, "avx512vnni")
_CNL = (*_SKX, "avx512ifma", "avx512vbmi")
_ICL = (*_CLX, *_CNL, "avx512vbmi2", "avx512bitalg", "avx512vpopcntdq")
_GROUPS = {
    "AVX512_KNL": ("avx512f", "avx512cd", "avx512er", "avx512pf"),
    "AVX512_SKX": _SKX,
    "AVX512_CLX": _CLX,
    "AVX512_CNL": _CNL,
    "AVX512_ICL": _ICL,
    "AVX512_SPR": (*_ICL, "avx512fp16"),
}
_LEVELS = {"X86_V2": "x86-64-v2", "X86_V3": "x86-64-v3", "X86_V4": "x86-64-v4"}
_FOREIGN = {
    "ASIMD": "aarch64",
    "NEON": "arm",
    "VSX": "ppc64le",
    "VX": "s390x",
    "LSX": "loongarch64",
}
_WINDOW = 4000
_TRIES = 8


def _dictionary(text: str) -> dict[str, list[str]]:
    """What `__cpu_features__` says; nothing where names are missing that each of them has."""
    told = dict(_ANSWER.findall(text))
    if not all(name in told for name in _EVERY_DICT_HAS):
        return {}
    return {
        "found": [name for name, answer in told.items() if answer == "True"],
        "not found": [name for name, answer in told.items() if answer == "False"],
    }


def _answers(text: str) -> dict[str, list[str]]:
    answers: dict[str, list[str]] = {}
    for match in _LIST.finditer(text):
        names = _NAME.findall(match[2] or match[3] or "")
        answers.setdefault(match[1].replace("_", " "), names)
    key = ""
    for line in text.split("\n"):
        if (head := _YAML.match(line)) is not None:
            key = head[1]
        elif key and (item := _ITEM.match(line)):
            answers.setdefault(key, []).append(item[1])
        elif line.strip():
            key = ""
    return answers


def _read(paste: Paste) -> Iterator[Sighting]:
    tries = 0
    for number, line in enumerate(paste.lines):
        if tries < _TRIES and re.search("simd_extensions|SIMD [Ee]xtensions", line):
            tries += 1
            text = "\n".join(paste.lines[number : number + 120])[:_WINDOW]
            answers = _answers(text)
            if answers:
                yield from _sightings(answers, number)
                return
        if _ANSWER.search(line):
            text = "\n".join(paste.lines[number : number + 120])[:_WINDOW]
            if answers := _dictionary(text):
                yield from _sightings(answers, number)
            return


def _sightings(answers: dict[str, list[str]], number: int) -> Iterator[Sighting]:
    found = [*answers.get("baseline", ()), *answers.get("found", ())]
    missing = answers.get("not found", [])
    # `__cpu_features__` tells of every architecture's features: those of others are False in it.
    lists = (found,) if "SSE42" in {*found, *missing} else (found, missing)
    told = (isa for names in lists for name, isa in _FOREIGN.items() if name in names)
    foreign = next(told, None)
    if foreign is not None:
        yield Sighting(source="numpy", line=number, isa=foreign)
        return
    yes = {feature for name in found for feature in _GROUPS.get(name, ())}
    yes.update(features_named(name for name in found if name not in _GROUPS))
    no = set(features_named(name for name in missing if name not in _GROUPS)) - yes
    levels = [_LEVELS[name] for name in found if name in _LEVELS]
    not_levels = [_LEVELS[name] for name in missing if name in _LEVELS]
    yield Sighting(
        source="numpy",
        line=number,
        claims=(
            Claims(
                source="numpy",
                witness="cpuid+os",
                yes=in_order(yes),
                no=in_order(no),
                level=max(levels, default=None),
                not_level=min(not_levels, default=None),
            ),
        ),
    )


FORMAT = Format(
    title="NumPy: numpy.show_runtime(), numpy.show_config(), __cpu_features__",
    carries="found and not found by name, both ways, after a look at XCR0; from 2.4 on levels",
    evidence="names",
    make="python -c 'import numpy; numpy.show_runtime()'",
    read=_read,
)
