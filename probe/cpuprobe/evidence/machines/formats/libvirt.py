"""libvirt: the `<cpu>` of a domain or of `virsh capabilities`.

What is asked for by name of a model is not unfolded: no feature follows from a name. Read by
expressions alone, for XML of strangers may define entities that grow without end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.isa import X86, isa_named
from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_LONGEST = 20_000
_MOST = 64  # domains in one text
_FEATURE = re.compile(r"<feature\s([^<>]{1,200})>")
_ATTRIBUTE = re.compile(r"(\w+)\s*=\s*[\"']([\w.-]{1,60})[\"']")
_ARCH = re.compile(r"<arch>(\w+)</arch>|<type\s[^<>]{0,200}?arch=[\"'](\w+)")
_MODEL = re.compile(r"<model(?:\s[^<>]{0,100})?>([\w.-]{1,60})</model>")
# What a model would need and this host does not offer (`virsh domcapabilities`).
_BLOCKERS = re.compile(r"<blockers\b.{0,8000}?(?:</blockers>|$)", re.DOTALL)
_VENDOR = re.compile(r"<vendor>(\w{2,20})</vendor>")
_DENIED = frozenset({"disable", "forbid"})
_NAMES = {"lahf_lm": "sahf", "abm": "lzcnt", "pclmuldq": "pclmul", "lm": ""}


def _read(paste: Paste) -> Iterator[Sighting]:
    text = paste.text
    begin = 0
    for _ in range(_MOST):
        begin = text.find("<cpu", begin)
        if begin < 0:
            return
        start, begin = begin, begin + 4
        if text[start + 4 : start + 5] in (" ", "\n", "\t", ">"):
            end = text.find("</cpu>", start, start + _LONGEST)
            inside = text[start : start + _LONGEST if end < 0 else end]
            if end > 0 or "<feature" in inside:  # the end may have been cut off
                yield _seen(text, inside, text.count("\n", 0, start))


def _seen(text: str, inside: str, line: int) -> Sighting:
    """What one `<cpu>` says."""
    inside = _BLOCKERS.sub("", inside)
    # `virsh capabilities` lists what it can emulate behind the host's own architecture.
    arch = _ARCH.search(inside) or _ARCH.search(text)
    isa = isa_named(arch[1] or arch[2]) if arch else None
    model = _MODEL.search(inside)
    vendor = _VENDOR.search(inside)
    identity = ToldIdentity(
        vendor=vendor[1] if vendor else None,
        brand=f"libvirt's {model[1]}" if model else None,
    )
    if isa is not None and isa not in X86:
        return Sighting(source="libvirt", line=line, isa=isa, identity=identity)
    yes, no = [], []
    for feature in _FEATURE.finditer(inside):
        attributes = dict(_ATTRIBUTE.findall(feature[1]))
        if attributes.get("policy") in _DENIED:
            no.append(attributes.get("name", ""))
        elif attributes.get("policy", "require") in ("require", "force"):
            yes.append(attributes.get("name", ""))
    claims = claims_of_names("libvirt", "cpuid", yes, no, _NAMES)
    told = (claims,) if claims.yes or claims.no else ()
    return Sighting(source="libvirt", line=line, identity=identity, claims=told)


FORMAT = Format(
    title="libvirt: `<cpu>` of a domain, virsh capabilities",
    carries="features that are required and denied by name; those of the named model are not told",
    evidence="names",
    make="lscpu | cat",
    read=_read,
)
