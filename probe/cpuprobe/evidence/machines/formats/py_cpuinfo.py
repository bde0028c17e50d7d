"""py-cpuinfo (`python -m cpuinfo`), as text and as JSON, versions 3 to 9.

On Linux its list is the kernel's, sorted, with some names of CPUID's that Linux never prints. On
Windows (`AMD64`) it adds what the registry's FeatureSet is thought to mean, which is not so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cpuprobe.evidence.machines.isa import X86, isa_named
from cpuprobe.evidence.machines.kernel_list import judge, linux_words
from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Cpuinfo, ToldIdentity

_SOURCE = "py-cpuinfo"
_LINE = re.compile(r"[ \t]*([A-Za-z][A-Za-z0-9_ ]{2,40}):[ \t]*(.*)$")
_TELLING = ("cpuinfo_version", "vendor_id_raw", "brand_raw", "arch_string_raw", "raw_arch_string")
_MACOS = frozenset({"avx1.0", "rdwrfsgs", "1gbpage"})


def _sighting(fields: dict[str, str], words: list[str], line: int) -> Sighting:
    raw = fields.get("arch_string_raw") or fields.get("raw_arch_string") or ""
    isa = isa_named(raw) or isa_named(fields.get("arch", ""))
    identity = ToldIdentity(
        vendor=(fields.get("vendor_id_raw") or fields.get("vendor_id") or "")[:256] or None,
        brand=(fields.get("brand_raw") or fields.get("brand") or "").strip()[:256] or None,
        family=_number(fields.get("family")),
        model=_number(fields.get("model")),
        stepping=_number(fields.get("stepping")),
    )
    if isa is not None and isa not in X86:
        return Sighting(source=_SOURCE, line=line, isa=isa, identity=identity)
    if raw.upper() == "AMD64" or not words:
        return Sighting(source=_SOURCE, line=line, isa=isa, identity=identity)
    if _MACOS.intersection(words):
        claims = claims_of_names(_SOURCE, "cpuid", words, more={"avx1.0": "avx"})
        return Sighting(source=_SOURCE, line=line, isa=isa, identity=identity, claims=(claims,))
    listed = [word for word in words if word in linux_words()]
    block = Cpuinfo(
        cpus=tuple(range(min(_number(fields.get("count")) or 1, 4096))),
        fields={
            **{
                key: str(value)
                for key, value in (
                    ("vendor_id", identity.vendor),
                    ("model name", identity.brand),
                    ("cpu family", identity.family),
                    ("model", identity.model),
                    ("stepping", identity.stepping),
                )
                if value is not None
            },
            "flags": " ".join(listed)[:16384],
        },
        incomplete=judge(listed, bits32=isa == "i686", followed=True),
    )
    return Sighting(source=_SOURCE, line=line, isa=isa, identity=identity, cpuinfo=(block,))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 6 else None


def _read(paste: Paste) -> Iterator[Sighting]:
    fields: dict[str, str] = {}
    first = 0
    taken = []
    for number, match in paste.matches(_LINE):
        key = match[1].lower().replace(" ", "_")
        first = first if fields else number
        taken.append(number)
        fields.setdefault(key, match[2].strip())
    if not any(key in fields for key in _TELLING):
        return
    for number in taken:
        paste.take(number)
    words = fields.get("flags", "").replace(",", " ").split()
    yield _sighting(fields, words, first)


def _read_document(document: Any) -> Iterator[Sighting]:
    if not (isinstance(document, dict) and any(key in document for key in _TELLING)):
        return
    flags = document.get("flags")
    words = [each for each in flags if isinstance(each, str)] if isinstance(flags, list) else []
    fields = {key: str(value) for key, value in document.items() if isinstance(value, (str, int))}
    yield _sighting(fields, words, 0)


FORMAT = Format(
    title="py-cpuinfo, as text and as JSON",
    carries="Linux: the kernel's list, whole; macOS: names of CPUID's, positive only; Windows: who"
    " the CPU is, for its list is guessed from the registry",
    evidence="kernel",
    make="python -m cpuinfo",
    read=_read,
    read_document=_read_document,
)
