"""lshw: the `capabilities` of a `*-cpu` node, as text and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cpuprobe.evidence.machines.kernel_list import gather, judge
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Cpuinfo, ToldIdentity

_NODE = re.compile(r"[ \t]*\*-(\w+)(?::\d+)?(?:[ \t]|$)")
_LINE = re.compile(r"[ \t]*([a-z][a-z ]{2,30}):[ \t]*(.*)$")
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})$")
_FOREIGN = re.compile(r"\b(?:cp15_barrier|asimd|Cortex|ARMv\d|cpuid_asimd)", re.IGNORECASE)


def _identity(fields: dict[str, str]) -> ToldIdentity:
    version = _VERSION.search(fields.get("version", ""))
    family, model, stepping = (int(part) for part in version.groups()) if version else (None,) * 3
    return ToldIdentity(
        vendor=fields.get("vendor", "").partition("[")[2].rstrip("]")[:256] or None,
        brand=" ".join(fields.get("product", "").split())[:256] or None,
        family=family,
        model=model,
        stepping=stepping,
    )


def _sighting(fields: dict[str, str], words: list[str], line: int) -> Sighting | None:
    identity = _identity(fields)
    told = " ".join([*words, identity.brand or ""])
    if _FOREIGN.search(told):
        return Sighting(source="lshw", line=line, isa="aarch64", identity=identity)
    listed = ["lm" if word == "x86-64" else word for word in words]
    listed = [word for word in dict.fromkeys(listed) if word not in ("fpu_exception", "wp")]
    if "fpu" not in listed:
        return Sighting(source="lshw", line=line, identity=identity) if identity.brand else None
    listed.sort(key=lambda word: word != "fpu")
    block = Cpuinfo((0,), {"flags": " ".join(listed)[:16384]}, judge(listed, followed=True))
    return Sighting(source="lshw", line=line, identity=identity, cpuinfo=(block,))


def _read(paste: Paste) -> Iterator[Sighting]:
    fields: dict[str, str] | None = None
    words: list[str] = []
    begin = number = 0
    while number < len(paste.lines):
        line = paste.lines[number]
        number += 1
        node = _NODE.match(line)
        if node is not None:
            if fields and (seen := _sighting(fields, words, begin)):
                yield seen
            fields, words, begin = ({} if node[1] == "cpu" else None), [], number - 1
            continue
        match = _LINE.match(line) if fields is not None else None
        if match is None or fields is None:
            continue
        fields.setdefault(match[1], match[2].strip())
        if match[1] == "capabilities":
            found = gather(paste.lines, number - 1, match[2].replace("x86-64", "lm"))
            words = [*match[2].split(), *found.words]
            for taken in range(number - 1, found.end):
                paste.take(taken)
            number = found.end
    if fields and (seen := _sighting(fields, words, begin)):
        yield seen


def _nodes(document: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    if isinstance(document, list):
        for each in document[:256]:
            yield from _nodes(each, depth)
    elif isinstance(document, dict) and depth < 16:
        if document.get("class") == "processor":
            yield document
        yield from _nodes(document.get("children", []), depth + 1)


def _read_document(document: Any) -> Iterator[Sighting]:
    for node in _nodes(document):
        capabilities = node.get("capabilities")
        words = list(capabilities) if isinstance(capabilities, dict) else []
        fields = {key: value for key, value in node.items() if isinstance(value, str)}
        if (words or "product" in fields) and (seen := _sighting(fields, words, 0)):
            yield seen
            return


FORMAT = Format(
    title="lshw (-C cpu), as text and as JSON",
    carries="the kernel's list, whole; who the CPU is",
    evidence="kernel",
    make="lshw -C cpu",
    read=_read,
    read_document=_read_document,
)
