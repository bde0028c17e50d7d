"""spectre-meltdown-checker: who the CPU is, and the kernel's words on vulnerabilities."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Kernel, ToldIdentity

_CPU = re.compile(r"^[ \t]*CPU is (.{3,100})$")
_KERNEL = re.compile(
    r"^[ \t]*Kernel is (?:Linux )?(\d{1,3}\.\d{1,3}[\w.+~-]{0,80})(?: (#\d.{0,120}))?"
)
_FAMILY = re.compile(r"family 0x([0-9a-f]{1,3}) model 0x([0-9a-f]{1,3}) stepping 0x([0-9a-f]{1,2})")
_CVE = re.compile(r"\b(CVE-20\d\d-\d{4,6})\b")
_SYSFS = re.compile(r"Mitigated according to the /sys interface:.*?\((.{3,200})\)[ \t]*$")
# Documentation/admin-guide/hw-vuln/
_FILES = {
    "CVE-2017-5753": "spectre_v1",
    "CVE-2017-5715": "spectre_v2",
    "CVE-2017-5754": "meltdown",
    "CVE-2018-3639": "spec_store_bypass",
    "CVE-2018-3646": "l1tf",
    "CVE-2018-12126": "mds",
    "CVE-2019-11135": "tsx_async_abort",
    "CVE-2018-12207": "itlb_multihit",
    "CVE-2020-0543": "srbds",
    "CVE-2022-40982": "gather_data_sampling",
    "CVE-2023-20569": "spec_rstack_overflow",
    "CVE-2023-28746": "reg_file_data_sampling",
}


def _read(paste: Paste) -> Iterator[Sighting]:
    brand: str | None = None
    kernel: Kernel | None = None
    who: re.Match[str] | None = None
    vulnerabilities: dict[str, str] = {}
    cve = ""
    for line in paste.lines:
        if brand is None and (match := _CPU.match(line)):
            brand = " ".join(match[1].split())
        elif kernel is None and (match := _KERNEL.match(line)):
            kernel = Kernel(release=match[1], version=match[2])
        elif (match := _SYSFS.search(line)) and cve in _FILES:
            vulnerabilities.setdefault(_FILES[cve], match[1])
        elif match := _CVE.search(line):
            cve = match[1]
        who = who or _FAMILY.search(line)
    if brand is None and not vulnerabilities:
        return
    family, model, stepping = (int(part, 16) for part in who.groups()) if who else (None,) * 3
    yield Sighting(
        source="spectre-meltdown-checker",
        identity=ToldIdentity(brand=brand, family=family, model=model, stepping=stepping),
        kernel=kernel,
        vulnerabilities=vulnerabilities,
    )


FORMAT = Format(
    title="spectre-meltdown-checker",
    carries="who the CPU is, the kernel's release and its words on vulnerabilities; no feature",
    evidence="identity",
    read=_read,
)
