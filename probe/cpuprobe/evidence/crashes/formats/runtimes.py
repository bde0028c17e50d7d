"""What language runtimes print when they die: Go, Julia, HotSpot, Rust, Python, .NET, Bun."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cpuprobe.evidence.crashes.model import Clue, Crash
from cpuprobe.evidence.crashes.rules import rule
from cpuprobe.words import base_name

GO, JULIA, HOTSPOT, OTHER = "Go", "Julia", "hs_err", "runtime"
_GO, _JULIA, _JVM = frozenset({"go"}), frozenset({"julia"}), frozenset({"jvm"})

RULES = {
    GO: (
        rule(
            ": ",
            r"^(?:\W{0,4})?(?P<signal>SIG(?:ILL|SEGV|BUS|FPE|TRAP)): [a-z/ ]{4,40}$",
            begins=True,
            runtimes=_GO,
        ),
        rule(
            "[signal sig",
            r"\[signal (?P<signal>SIG[A-Z]{2,7}): [^\]\n]{0,100}\bpc=(?P<ip>0x[0-9a-f]{1,16})",
            begins=True,
            runtimes=_GO,
        ),
        rule("pc=0x", r"^\W{0,4}PC=(?P<ip>0x[0-9a-f]{1,16}) m=\d", runtimes=_GO),
        rule(
            "instruction bytes:",
            r"^\W{0,4}instruction bytes: (?P<code>0x[0-9a-f]{1,2}(?: 0x[0-9a-f]{1,2}){1,31})",
            runtimes=_GO,
        ),
        # Linux gives AArch64 alone stacks above the 47 bits of others.
        rule("frame={sp:0x", r"\bframe=\{sp:0x[89a-f][0-9a-f]{11},", aside=True, isa="aarch64"),
        rule(
            "goroutine ",
            r"^\W{0,4}goroutine \d{1,10} (?:gp=\S{1,20} )?(?:m=\S{1,20} )?(?:mp=\S{1,20} )?\[",
            aside=True,
            runtimes=_GO,
        ),
    ),
    JULIA: (
        rule(
            "invalid instruction at",
            r"\bInvalid instruction at (?P<ip>(?:0x)?[0-9a-f]{1,16}): "
            r"(?P<code>0x[0-9a-f]{1,2}(?:, 0x[0-9a-f]{1,2}){0,31})",
            begins=True,
            runtimes=_JULIA,
        ),
        # What its handler says of UD2 on x86, where it would else print the bytes.
        rule(
            "unreachable reached at",
            r"\bUnreachable reached at (?P<ip>0x[0-9a-f]{1,16})",
            begins=True,
            signal="SIGILL",
            text="ud2",
            runtimes=_JULIA,
        ),
        rule("signal (", r"^(?:\[\d{1,8}\] )?signal \((?P<signal>\d{1,2})(?:\.\d{1,2})?\): [A-Z]"),
        rule(
            "unknown function (ip:",
            r"^unknown function \(ip: (?P<ip>0x[0-9a-f]{1,16})\)",
            aside=True,
            anonymous=True,
        ),
        rule(
            " at ",
            r"^(?P<function>[^\s(]\S{0,200}) at (?P<module>"
            r"(?:/|[A-Za-z]:\\)[^\n]{1,400}?\.(?:so|dylib|dll)[\d.]{0,12}) \(unknown "
            r"line\)",
            aside=True,
        ),
        rule("allocations: ", r"^Allocations: \d{1,16} \(Pool: ", aside=True, runtimes=_JULIA),
    ),
    HOTSPOT: (
        rule(
            " at pc=0x",
            r"^(?:#\s{1,4})?(?P<signal>(?:SIG|EXCEPTION_)[A-Z_]{2,40}) \(0x[0-9a-f]{1,8}\) "
            r"at pc=(?P<ip>0x[0-9a-f]{1,16})"
            r", pid=(?P<pid>\d{1,10})",
            begins=True,
            runtimes=_JVM,
        ),
        rule(
            "java vm: ",
            r"\bJava VM: [^\n]{0,300}\b(?:windows|linux|bsd|macos|aix|solaris)-"
            r"(?P<isa>\w{2,12})\s?\)",
            aside=True,
            runtimes=_JVM,
        ),
        rule(
            "java vm: ",
            r"\bJava VM: [^\n]{0,300}\bwindows-",
            aside=True,
            system="windows",
            runtimes=_JVM,
        ),
        rule(
            "+0x",
            r"^(?:#\s{1,4})?[CV]\s{1,4}\[(?P<module>[^\]+\n]{1,100})\+"
            r"(?P<offset>0x[0-9a-f]{1,16})\](?:\s{1,4}(?P<function>[^\n+]{1,200}))?",
            aside=True,
            origin="image",
            runtimes=_JVM,
        ),
        # A compiled method, a stub, an adapter: code that HotSpot made.
        rule(
            " @ 0x",
            r"^(?:#\s{1,4})?[Jj]\s{1,4}\d{1,9}\s[^\n]{1,400} @ 0x[0-9a-f]{1,16}",
            aside=True,
            anonymous=True,
            runtimes=_JVM,
        ),
        rule("~", r"^(?:#\s{1,4})?v\s{1,4}~\w", aside=True, anonymous=True, runtimes=_JVM),
        rule(
            "siginfo:",
            r"^siginfo:\s{1,4}(?:si_signo: \d{1,2} \()?(?P<signal>(?:SIG|EXCEPTION_)[A-Z_]{2,40})",
            aside=True,
        ),
    ),
    OTHER: (
        rule("(signal: ", r"\(signal: \d{1,2}, (?P<signal>SIG[A-Z]{2,7})"),
        # Unreal Engine
        rule(
            "unhandled exception:",
            r"\bUnhandled Exception: (?P<signal>SIG[A-Z]{2,7}|EXCEPTION_[A-Z_]{4,40})\b",
            begins=True,
        ),
        rule(
            "didn't exit successfully",
            r"didn't exit successfully: `(?P<program>[^`\s]{1,400})[^`\n]{0,400}` "
            r"\(exit code: (?P<signal>0x[0-9a-f]{8})\b",
        ),
        rule(
            "fatal python error",
            r"\bFatal Python error: (?P<signal>Illegal instruction|Segmentation "
            r"fault|Bus error|Floating.point exception|Aborted)",
            begins=True,
            runtimes=frozenset({"python"}),
        ),
        rule(
            "panic",
            r"\bpanic(?:\([^)\n]{1,60}\))?: (?P<signal>Illegal instruction|Segmentation "
            r"fault|Bus error)(?: at address (?P<ip>0x[0-9a-f]{1,16}))?",
            begins=True,
        ),
        rule(
            "(baseline)",
            r"^\W{0,4}Bun v\d[\w.+-]{0,40} \(\w{6,12}\) Windows (?P<isa>x64) \(baseline\)",
            aside=True,
            system="windows",
            runtimes=frozenset({"bun", "bun-baseline"}),
        ),
        rule(
            "(baseline)",
            r"^\W{0,4}Bun v\d[\w.+-]{0,40} \(\w{6,12}\) (?P<platform>Linux|macOS|Windows) "
            r"(?P<isa>x64) \(baseline\)",
            aside=True,
            runtimes=frozenset({"bun", "bun-baseline"}),
        ),
        rule(
            "bun v",
            r"^\W{0,4}Bun v\d[\w.+-]{0,40} \(\w{6,12}\) Windows (?P<isa>x64|arm64|aarch64)\b",
            aside=True,
            system="windows",
            runtimes=frozenset({"bun"}),
        ),
        rule(
            "bun v",
            r"^\W{0,4}Bun v\d[\w.+-]{0,40} \(\w{6,12}\) (?P<platform>Linux|macOS|Window"
            r"s) (?P<isa>x64|arm64|aarch64)\b",
            aside=True,
            runtimes=frozenset({"bun"}),
        ),
        rule("bun has crashed", r"\bBun has crashed", aside=True, runtimes=frozenset({"bun"})),
        rule(
            "external exception",
            r"\bExternal exception (?P<signal>C0[0-9A-F]{6})\b",
            system="windows",
        ),
        rule("signals.sig", r"\bdied with <Signals\.(?P<signal>SIG[A-Z]{2,7}): \d{1,2}>"),
    ),
}
_INSTRUCTIONS = re.compile(r"^Instructions: \(pc=(0x[0-9a-f]{1,16})\)", re.IGNORECASE)
_OLD_ROW = re.compile(
    r"^(?:=>\s{0,4})?(0x[0-9a-f]{1,16}):\s{1,8}((?:[0-9a-f]{2}\s){3,15}[0-9a-f]{2})\s*$",
    re.IGNORECASE,
)
# OpenJ9's register dump, and what it says of the file that RIP lies in.
_J9 = tuple(
    re.compile(pattern, re.MULTILINE | re.IGNORECASE)
    for pattern in (
        r"^RIP=([0-9a-f]{16})\b",
        r"^Module=(\S[^\n]{0,400}?)[ \t]*$",
        r"^Module_base_address=([0-9a-f]{8,16})\b",
    )
)
_JITS = {
    "wasmtime": re.compile(
        r"\bwasmtime|\bwasm (?:trap|backtrace|function)\b|\.cwasm\b|\bcranelift\b", re.IGNORECASE
    ),
    "wasmer": re.compile(r"\blibwasmer|\bwasmer[_ ]", re.IGNORECASE),
    "jvm": re.compile(
        r"\blibjvm\.(?:so|dylib)|\bjvm\.dll\b|\bJava Runtime Environment", re.IGNORECASE
    ),
    "dotnet": re.compile(
        r"\blibcoreclr\.|\bcoreclr\.dll\b|\blibclrjit|\bclrjit\.dll\b", re.IGNORECASE
    ),
    "node": re.compile(r"\bv8::internal\b|\bBuiltins_[A-Z]"),
    "julia": re.compile(r"\blibjulia\b|\bjulia/src/", re.IGNORECASE),
    "onednn": re.compile(r"\bdnnl::impl::|\blibdnnl\.|\bmkldnn::", re.IGNORECASE),
    "jax": re.compile(r"\bxla_extension\b|\bxla::cpu\b|\blibjax|\bjaxlib\b", re.IGNORECASE),
    "llvmpipe": re.compile(r"\bllvmpipe_|\blp_build_", re.IGNORECASE),
    "luajit": re.compile(r"\blibluajit|\blj_[a-z]+_[a-z]+\b"),
    "pcre2": re.compile(r"\bpcre2_jit_|\blibpcre2", re.IGNORECASE),
    "numba": re.compile(r"\bnumba[/.\\]|\bllvmlite\b", re.IGNORECASE),
}


def read(lines: Sequence[str]) -> Iterator[Clue]:
    """HotSpot's rows of code around the pc, and signs of runtimes anywhere in the text."""
    for at, line in enumerate(lines):
        head = _INSTRUCTIONS.match(line)
        if head is not None:
            memory = []
            for row in lines[at + 1 : at + 65]:
                match = _OLD_ROW.match(row)
                if match is None:
                    break
                memory.append((int(match[1], 16), bytes.fromhex(match[2])))
            yield Clue(
                at, Crash(HOTSPOT, address=int(head[1], 16)), aside=True, memory=tuple(memory)
            )
    whole = "\n".join(lines)
    told = [pattern.search(whole) for pattern in _J9]
    if all(told):
        ip, path, base = (match[1] for match in told if match is not None)
        address, offset = int(ip, 16), int(ip, 16) - int(base, 16)
        if offset >= 0:
            at = whole.count("\n", 0, whole.index(f"Module={path}"))
            where = Crash(
                OTHER,
                address=address,
                module=base_name(path),
                offset=offset,
                origin="mapping",
                runtimes=_JVM,
            )
            yield Clue(at, where, aside=True)
    for runtime, sign in _JITS.items():
        if sign.search(whole) is not None:
            yield Clue(0, Crash("sign", runtimes=frozenset({runtime})), aside=True)
