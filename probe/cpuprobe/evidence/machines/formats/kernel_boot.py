"""The boot text of Linux: XCR0, who the CPU is, and what was switched off."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

# arch/x86/kernel/fpu/xstate.c since 4.2, and arch/x86/kernel/xsave.c before
_XCR0 = re.compile(
    r"(?:x86/fpu: Enabled xstate features|xsave(?:/xrstor)?: enabled xstate_bv)"
    r" 0x([0-9a-f]{1,16})\b"
)
_GDS = re.compile(r"\bGDS: ((?:Mitigation|Vulnerable|Not affected|Unknown)\b.{0,200})$")
_CPU = re.compile(
    r"\b(?:smpboot: )?CPU0: (.{4,80}?) (?:\((?:family|fam): (?:0x)?([0-9a-f]{1,3}), "
    r"model: (?:0x)?([0-9a-f]{1,3})(?:, stepping: (?:0x)?([0-9a-f]{1,2}))?\)"
    r"|stepping [0-9a-f]{1,2}\b)"
)
_ARM = re.compile(r"Booting Linux on physical CPU 0x[0-9a-f]+ \[0x([0-9a-f]{8})\]")
_RISCV = re.compile(r"\bSBI specification v\d|riscv: (?:base )?ISA extensions")


def _read(paste: Paste) -> Iterator[Sighting]:
    xcr0: int | None = None
    who: re.Match[str] | None = None
    vulnerabilities: dict[str, str] = {}
    first: int | None = None
    for number, line in enumerate(paste.lines):
        if ":" not in line and "Booting" not in line:
            continue
        if _ARM.search(line) or _RISCV.search(line):
            isa = "riscv64" if _RISCV.search(line) else "aarch64"
            yield Sighting(source="kernel-boot", line=number, isa=isa)
            return
        if (match := _XCR0.search(line)) is not None:
            xcr0 = int(match[1], 16)
        elif (match := _GDS.search(line)) is not None:
            vulnerabilities["gather_data_sampling"] = match[1].strip()
        elif who is None and (match := _CPU.search(line)) is not None:
            who = match
        else:
            continue
        first = number if first is None else first
    if first is None:
        return
    identity = None
    if who is not None:
        family, model, stepping = (int(part, 16) if part else None for part in who.groups()[1:4])
        identity = ToldIdentity(
            brand=" ".join(who[1].split()), family=family, model=model, stepping=stepping
        )
    yield Sighting(
        source="kernel-boot",
        line=first,
        identity=identity,
        xcr0=xcr0,
        vulnerabilities=vulnerabilities,
    )


FORMAT = Format(
    title="Linux boot text (dmesg)",
    carries="XCR0, the GDS mitigation, who the CPU is; features only as far as XCR0 goes",
    evidence="os",
    make="dmesg | grep -E 'x86/fpu|GDS|CPU0|Linux version|ommand line'",
    read=_read,
)
