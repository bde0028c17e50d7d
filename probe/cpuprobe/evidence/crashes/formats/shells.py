"""Words for a status: shells, systemd, containers, build tools, strace, and plain sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cpuprobe.evidence.crashes.isa import OF_GO
from cpuprobe.evidence.crashes.languages import signals
from cpuprobe.evidence.crashes.model import Clue, Crash
from cpuprobe.evidence.crashes.rules import ISA_NAMES, rule
from cpuprobe.evidence.crashes.status import exit_signal

STRACE, SYSTEMD, STATUS, SENTENCE = "strace", "systemd", "status", "words"
_NAMED = (
    r"(?P<signal>illegal (?:hardware )?instruction|segmentation fault|bus error"
    r"|floating point exception)"
)
# hs_err's table of signals and who handles them.
_NO_HANDLER = r"(?!: (?:\[[^\]\n]{1,100}\+0x|SIG_(?:DFL|IGN)))"
RULES = {
    STRACE: (
        rule(
            "si_signo=sig",
            r"--- (?P<signal>SIG[A-Z]{2,7}) \{si_signo=SIG[A-Z]{2,7}, si_code="
            r"(?:SI_TKILL|SI_USER|SI_QUEUE)\b",
            begins=True,
            sent=True,
        ),
        rule(
            "si_signo=sig",
            r"--- (?P<signal>SIG(?:ILL|SEGV|BUS|FPE|TRAP)) \{si_signo=SIG[A-Z]{2,7}, "
            r"si_code=[A-Z_]{3,16}(?:, si_addr=(?P<at>0x[0-9a-f]{1,16}))?",
            begins=True,
        ),
        rule("+++ killed by", r"\+\+\+ killed by (?P<signal>SIG[A-Z]{2,7})"),
    ),
    SYSTEMD: (
        rule(
            "status=",
            r"(?:(?P<program>[\w@.\\-]{1,100})\.service: )?.{0,60}\bcode="
            r"(?:dumped|killed), status=(?P<signal>\d{1,2})/\w{2,8}",
        ),
        rule(
            "com.apple.",
            r"\bcom\.apple\.(?:xpc\.)?launchd\b.{0,200}?"
            r"(?:exited due to |appears to have crashed: )"
            r"(?P<signal>SIG[A-Z]{2,7}|[A-Z][a-z ]{4,30}(?=: \d))",
            system="macos",
        ),
        rule("status=", r"\bstatus=(?P<signal>\d{1,2})/(?:ILL|SEGV|BUS|FPE|TRAP|ABRT|KILL)\b"),
        rule("signal=", r"\(code=(?:dumped|killed), signal=(?P<signal>[A-Z]{2,7}\d?)\)"),
    ),
    STATUS: (
        rule("line ", r"\bline \d{1,6}:\s{1,4}(?P<pid>\d{1,8}) " + _NAMED + r"\b"),
        rule("(core dumped)", r"(?:^|[^\w])" + _NAMED + r"\s{1,40}\(core dumped\)"),
        rule("exception: illegal", r"\*\*\*Exception: (?P<word>Illegal)", signal="SIGILL"),
        rule("non-zero exit status -", r"returned non-zero exit status (?P<status>-\d{1,10})\b"),
        rule("returncode", r"\breturncode['\"]?\s?[=:]\s?(?P<status>-\d{1,10}|1[23]\d)\b"),
        rule("(illegal)", r"^\W{0,8}\d{1,5} - \S{1,200} \(ILLEGAL\)", signal="SIGILL"),  # ctest
        rule("*** caught ", r"\*\*\* caught (?P<signal>illegal operation|segfault) \*\*\*"),  # R
        rule("(signal: ", r"\bWstat: \d{1,5} \(Signal: (?P<signal>[A-Z]{2,7})\b"),  # prove
        rule("exitfailure (", r"\bExitFailure \((?P<status>-\d{1,2})\)"),  # Haskell
        rule("exited (", r"\bExited \((?P<status>1[23]\d)\)"),
        rule("restarting (", r"\bRestarting \((?P<status>1[23]\d)\)"),
        rule(
            "signal",
            r"\b(?:terminated|killed|exited|died|ended|crashed|interrupted|stopped|fata"
            r"l)\b.{0,24}?\b(?:by|on|due to|with|from|of)? ?signal:? '?"
            r"(?P<signal>SIG[A-Z]{2,7}|\d{1,2})\b",
        ),
        rule("signal", r"\bgot signal (?P<signal>\d{1,2}) ?;"),  # mysqld
        rule("uncaught signal", r"\buncaught signal (?P<signal>[A-Z]{2,7})\b"),  # Homebrew
        rule(" ill signal", r"\breceived ILL signal\b", signal="SIGILL"),  # eggdrop
        # rpm, Home Assistant
        rule("signal", r"\b(?:failed,|process received) signal (?P<signal>\d{1,2})$"),
        rule('"rc"', r"\"rc\": ?(?P<status>-\d{1,2}|1[23]\d)\b"),  # Ansible
        rule(
            "(signal", r"\b(?:access|termination) \(signal (?P<signal>\d{1,2})\)"
        ),  # Crystal, Condor
        rule("signal", r"\bsignal['\"]?\s?[:=]\s?['\"]?(?P<signal>SIG[A-Z]{2,7})\b"),
        rule(
            "code",
            r"(?<![?&])\b(?:exit(?:ed|ing)?|status|return|error|process|crash(?:ed)?)?[ _-]?"
            r"(?:with )?code['\"]?\s?(?:of|is|was|[:=(])?\s{0,8}[(\[]?"
            r"(?P<status>0x[8c]0[0-9a-f]{6}|-10737\d{5}|322122\d{4}|1[23]\d|-"
            r"(?:4|5|7|8|11))(?!\w|\.\d)",
        ),
        rule(
            "exit",
            r"\bexit(?:ed)?(?: with)?(?: a)?(?: non-zero)?"
            r"(?:[ _-]?(?:status|code|value))?[:=]?\s{0,8}\(?"
            r"(?P<status>0x[8c]0[0-9a-f]{6}|-10737\d{5}|322122\d{4}|1[23]\d|-(?:4|5|7|8|11))"
            r"(?!\w|\.\d)",
        ),
        rule("error 1", r"\bError (?P<status>132|133|135|136|139)$"),
        rule("0xc0000", r"(?P<signal>\b0xc00000(?:05|1d|8e|94|95|96|fd))\b", system="windows"),
        rule("0xc0000409", r"(?P<signal>\b0xc0000409)\b", system="windows"),
        rule(
            "_illegal_instruction",
            r"\b(?P<signal>(?:STATUS|EXCEPTION)_ILLEGAL_INSTRUCTION)\b",
            system="windows",
        ),
        rule(
            "_access_violation",
            r"\b(?P<signal>(?:STATUS|EXCEPTION)_ACCESS_VIOLATION)\b",
            system="windows",
        ),
    ),
    SENTENCE: (
        # A sentence that says where it died: `fault in ggml-cpu.dll+0x98e9`.
        rule(
            "+0x",
            r"\b(?:fault|crash|died|dies|exception|illegal instruction|SIGILL)\w{0,6}\b[^\n]{0,60}?"
            r"\b(?:in|at|on) `?(?P<module>[\w.-]{1,100}\.(?:dll|exe|pyd|node|dylib|so[\d.]{0,12}))"
            r"\+(?P<offset>0x[0-9a-f]{1,16})\b",
            aside=True,
            origin="image",
        ),
        rule(
            "bytes",
            r"\b(?:illegal|instruction|opcode|faulting) bytes?:? `?"
            r"(?P<code>0x[0-9a-f]{1,2}(?:,? 0x[0-9a-f]{1,2}){1,14})\b",
            aside=True,
        ),
        rule("sigill", r"\b(?P<signal>SIGILL)(?:s|ed|'d|ing)?\b" + _NO_HANDLER),
        rule("illegal", r"\b" + _NAMED + r"s?\b"),
        rule("instruction", r"(?:^|[^\w])" + _NAMED + r"\b"),
        rule("exc_bad_instruction", r"\b(?P<signal>EXC_BAD_INSTRUCTION)\b", system="macos"),
        rule("exc_i386_invop", r"\bEXC_I386_INVOP\b", signal="SIGILL", system="macos"),
        rule("trap invalid opcode", r"\btrap (?P<signal>invalid opcode)\b"),
        rule("invalid opcode", r"\b(?P<signal>invalid opcode)\b"),
        rule("undefined instruction", r"\bundefined instruction\b", signal="SIGILL"),
        rule("segmentation fault", r"\b(?P<signal>segmentation fault)\b"),
        rule("sigsegv", r"\b(?P<signal>SIGSEGV)\b" + _NO_HANDLER),
        rule("c000001d", r"(?<![0-9a-f])(?P<signal>c000001d)\b", system="windows"),
    ),
}
# Names of instruction sets that are no words of another meaning.
_ISA = re.compile(
    r"(?<![A-Za-z0-9])(?P<isa>x86[_-]64|amd64|aarch64|arm64(?:-v8a|e)?|armv[678]\w{0,3}|armhf"
    r"|armeabi(?:-v7a)?|(?<!EXC_)i[3-6]86|"
    r"riscv64|risc-v|ppc64(?:le)?|powerpc(?:64(?:le)?)?|s390x|mips64(?:el|le)?|mips(?:el|le)|loongarch64)(?![a-z0-9])",
    re.IGNORECASE,
)
_GO_FILE = re.compile(rf"_(?P<isa>{'|'.join(OF_GO)})\.(?:s|go):\d", re.IGNORECASE)
_LONE_STATUS = re.compile(r"\s*(-?\d{1,11}|0x[0-9a-f]{1,8})\s*", re.IGNORECASE)

# A shell is asked for it, and says it on the next line.
_ASKED = re.compile(
    r"(?:\becho \"?\$(?:\?|\{?PIPESTATUS)|\$LASTEXITCODE\b|%ERRORLEVEL%)[^\n]{0,20}$", re.IGNORECASE
)


def _of_number(text: str) -> str | None:
    return exit_signal(int(text, 16 if "x" in text.lower() else 10))


def read(lines: Sequence[str]) -> Iterator[Clue]:
    """A signal in other languages, and every instruction set that the text names."""
    for at, signal in signals(lines):
        yield Clue(at, Crash(SENTENCE, signal=signal))
    seen: set[str] = set()
    for at, line in enumerate(lines):
        if len(line) > 4096:
            continue
        for match in (*_GO_FILE.finditer(line), *_ISA.finditer(line)):
            name = match["isa"].lower()
            named = OF_GO if match.re is _GO_FILE else ISA_NAMES
            isa = named.get(name) or ("arm" if name.startswith("armv") else None)
            if isa is not None and isa not in seen:
                seen.add(isa)
                yield Clue(at, Crash("sign", isa=isa), aside=True)
    told: set[str | None] = {None}
    for before, (at, line) in zip(lines, enumerate(lines[1:], 1), strict=False):
        answer = _LONE_STATUS.fullmatch(line)
        name = _of_number(answer[1]) if answer and _ASKED.search(before[-80:]) else None
        if name not in told:
            told.add(name)
            yield Clue(at, Crash(STATUS, signal=name))
    if len(lines) == 1:
        lone = _LONE_STATUS.fullmatch(lines[0])
        name = None if lone is None else _of_number(lone[1])
        if name is not None:
            yield Clue(0, Crash(STATUS, signal=name))
