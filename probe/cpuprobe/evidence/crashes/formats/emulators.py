"""Programs that execute a program's instructions themselves, and say which one they refuse."""

from __future__ import annotations

from cpuprobe.evidence.crashes.rules import rule

RULES = {
    # Sober's handler for SIGILL, which executes what of SSE4.2 a CPU lacks: its last words, with
    # bytes as Rust prints a list in hexadecimal.
    "libbadcpu": (
        rule(
            "unrecognized instruction",
            r"^\W{0,4}FATAL: Unrecognized Instruction\W{0,4}$",
            begins=True,
            signal="SIGILL",
            isa="x86-64",
        ),
        rule("faulting rip", r"^\W{0,4}Faulting RIP: (?P<ip>0x[0-9a-f]{1,16})\b"),
        rule(
            "instruction bytes: [",
            r"\bInstruction Bytes: \[(?P<code>[0-9a-f]{1,2}(?:, [0-9a-f]{1,2}){1,14})\]",
            signal="SIGILL",
            isa="x86-64",
        ),
    ),
    "Valgrind": (
        rule(
            "amd64->ir: unhandled instruction bytes:",
            r"\bunhandled instruction bytes: (?P<code>0x[0-9a-f]{1,2}(?: 0x[0-9a-f]{1,2}){0,31})",
            begins=True,
            emulator="valgrind",
            isa="x86-64",
        ),
        rule(
            "x86->ir: unhandled instruction bytes:",
            r"\bunhandled instruction bytes: (?P<code>0x[0-9a-f]{1,2}(?: 0x[0-9a-f]{1,2}){0,31})",
            begins=True,
            emulator="valgrind",
            isa="i386",
        ),
        rule(
            "disinstr(arm64)",
            r"\bdisInstr\(arm64\): unhandled instruction(?: (?P<word>0x[0-9a-f]{8}))?",
            begins=True,
            emulator="valgrind",
            isa="aarch64",
        ),
        rule(
            "disinstr(arm)",
            r"\bdisInstr\(arm\): unhandled instruction(?:: (?P<word>0x[0-9a-f]{8}))?",
            begins=True,
            emulator="valgrind",
            isa="arm",
        ),
        rule(
            "unrecognised instruction",
            r"\bUnrecognised instruction at address (?P<ip>0x[0-9a-f]{1,16})",
            emulator="valgrind",
        ),
        rule(
            "   at 0x",
            r"^==\d{1,8}==\s{1,8}at (?P<ip>0x[0-9a-f]{1,16}): "
            r"(?P<function>[^\n(]{1,300}) \((?:in (?P<module>/[^()\n]{1,400}))?",
            aside=True,
            emulator="valgrind",
        ),
        rule(
            "default action of signal",
            r"\bdefault action of signal (?P<signal>\d{1,2}) \(",
            emulator="valgrind",
        ),
        rule(
            "illegal opcode at address",
            r"\bIllegal opcode at address (?P<ip>0x[0-9a-f]{1,16})",
            aside=True,
            emulator="valgrind",
        ),
    ),
    "QEMU": (
        rule(
            "uncaught target signal",
            r"\bqemu\S{0,40}: uncaught target signal (?P<signal>\d{1,2}) \(",
            begins=True,
            emulator="qemu",
        ),
    ),
    "KVM": (
        rule(
            "kvm internal error",
            r"\bKVM internal error\. Suberror: \d",
            begins=True,
            emulator="kvm",
            system="linux",
        ),
        rule("emulation failure", r"\bemulation failure\b", aside=True, emulator="kvm"),
        rule(
            "code=",
            r"^\W{0,4}Code=(?P<code>(?:[0-9a-f]{2} |\?\? ){0,64}<[0-9a-f]{2}>(?: "
            r"[0-9a-f]{2}){0,64})",
            emulator="kvm",
        ),
    ),
    "SDE": (
        rule(
            "not valid for specified chip",
            r"\bexecuted instruction not valid for specified chip \([\w-]{1,40}\): "
            r"(?P<ip>0x[0-9a-f]{1,16}): (?P<text>[a-z][^\n]{1,100}?)\s{0,8}$",
            begins=True,
            emulator="sde",
            isa="x86-64",
        ),
        rule(
            "image: ",
            r"^Image: (?P<module>[^\n+]{1,300})\+(?P<offset>0x[0-9a-f]{1,16})\b",
            aside=True,
            origin="image",
        ),
        rule(
            "instruction bytes are:",
            r"^\W{0,4}Instruction bytes are: (?P<code>[0-9a-f]{2}(?: [0-9a-f]{2}){0,14})",
            emulator="sde",
        ),
    ),
    "bhyve": (
        rule(
            "emulate instruction sequence",
            r"\bFailed to emulate instruction sequence "
            r"\[ ?(?P<code>[0-9a-f]{2}(?: [0-9a-f]{2}){0,14}) ?\] at (?P<ip>0x[0-9a-f]{1,16})",
            begins=True,
            emulator="bhyve",
            isa="x86-64",
        ),
    ),
    "Unicorn": (rule("uc_err_insn_invalid", r"\bUC_ERR_INSN_INVALID\b", emulator="unicorn"),),
    "DynamoRIO": (
        rule(
            "application exception at pc",
            r"\bApplication exception at PC (?P<ip>0x[0-9a-f]{1,16})",
            begins=True,
        ),
        rule("delivered to application", r"\bSignal (?P<signal>\d{1,2}) delivered to application"),
        rule(
            "+0x",
            r"^\W{0,4}(?P<ip>0x[0-9a-f]{1,16})\s{1,8}<(?P<module>[^<>\n+]{1,300})"
            r"\+(?P<offset>0x[0-9a-f]{1,16})>$",
            aside=True,
            origin="image",
        ),
    ),
    "box64": (
        rule(
            "unimplemented opcode",
            r"\|(?P<ip>0x[0-9a-f]{1,16}): Unimplemented (?:\w{1,8} )?Opcode "
            r"(?:\([0-9A-F ]{2,60}\) )?(?P<code>(?:[0-9A-F]{2} ){2,31}[0-9A-F]{2})",
            begins=True,
            emulator="box64",
            isa="x86-64",
        ),
    ),
    "Rosetta": (
        rule(
            "rosetta error",
            r"\brosetta error: (?:unhandled|unsupported|unimplemented) [^\n]{0,60}instruction",
            begins=True,
            emulator="rosetta",
            isa="x86-64",
        ),
    ),
}
