"""What stops below any operating system: UEFI's exception handler, a guest's faults in QEMU's log.

Formats: edk2 UefiCpuPkg/Library/CpuExceptionHandlerLib (DumpImageAndCpuContent); QEMU
target/i386/tcg/seg_helper.c (-d int); Spike riscv/processor.cc.
"""

from __future__ import annotations

from cpuprobe.evidence.crashes.rules import HEX, rule

SOURCE = "firmware"
RULES = (
    rule(
        "exception type - ",
        r"!!!! (?P<isa>X64|IA32) Exception Type - [0-9A-F]{2}"
        r"\(#[A-Z]{2} - (?P<signal>[a-z -]{3,40})\)",
        begins=True,
        system="firmware",
    ),
    rule("rip  - ", rf"\bRIP  - (?P<ip>{HEX}), CS ", system="firmware"),
    rule("eip  - ", rf"\bEIP  - (?P<ip>{HEX}), CS ", system="firmware"),
    rule(
        "find image based on ip",
        rf"\bbased on IP\((?P<ip>{HEX})\) (?P<module>\S{{1,400}}) \(ImageBase=(?P<start>{HEX})",
        system="firmware",
        origin="image",
    ),
    rule(  # of all vectors the one that no working system raises
        "v=06 e=0000",
        rf"\bv=06 e=0000 i=0 cpl=\d IP=[0-9a-f]{{4}}:{HEX} pc=(?P<ip>{HEX})",
        begins=True,
        signal="SIGILL",
        system="firmware",
    ),
    rule(
        "trap_illegal_instruction",
        rf"\bexception trap_illegal_instruction, epc (?P<ip>{HEX})",
        begins=True,
        signal="SIGILL",
        isa="riscv64",
        system="firmware",
    ),
)
