"""coredumpctl, systemd's journal, ABRT, apport, minidump_stackwalk, Android's tombstones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cpuprobe.evidence.crashes.model import Clue, Crash
from cpuprobe.evidence.crashes.rules import rule

SOURCE = "coredump"
RULES = (
    rule("signal: ", r"^\W{0,8}Signal: (?P<signal>\d{1,2}) \([A-Z]{2,7}\)", aside=False),
    rule(
        "pid: ",
        r"\bPID: (?P<pid>\d{1,8}) \((?P<program>[^()\n]{1,64})\)",
        aside=True,
    ),
    rule("signal: ", r"\bSignal: (?P<signal>\d{1,2}) \([A-Z]{2,7}\)"),
    rule("executable: ", r"^\W{0,8}Executable: (?P<path>/[^\n]{1,400})$", aside=True),
    rule(
        "dumped core",
        r"\bProcess (?P<pid>\d{1,8}) \((?P<program>[^()\n]{1,64})\) of user \d{1,10} "
        r"(?:terminated abnormally with signal (?P<signal>\d{1,2})/\w{2,8}.{0,20})?dumped core",
        begins=True,
        system="linux",
    ),
    rule(
        "terminated abnormally",
        r"\bProcess (?P<pid>\d{1,8}) \((?P<program>[^()\n]{1,64})\) of user \d{1,10} "
        r"terminated abnormally with signal (?P<signal>\d{1,2})/",
        begins=True,
        system="linux",
    ),
    # coredumpctl list
    rule(
        " /",
        r"^\w{3} \d{4}-\d\d-\d\d [\d:]{8} \S{1,6}\s{1,12}(?P<pid>\d{1,8})\s{1,8}\d{1,10}\s{1,8}"
        r"\d{1,10}\s{1,8}(?P<signal>\d{1,2}|SIG[A-Z]{2,7})\s{1,8}[a-z*-]{1,12}\s{1,8}"
        r"(?P<program>/\S{1,400})",
        begins=True,
        system="linux",
    ),
    # ABRT
    rule(
        "killed by sig",
        r"\bProcess (?P<pid>\d{1,8}) \((?P<program>[^()\n]{1,64})\) of user \d{1,10} "
        r"killed by (?P<signal>SIG[A-Z]{2,7})",
        begins=True,
        system="linux",
    ),
    rule(
        "killed by sig",
        r"^\W{0,8}(?:reason|Reason|Title):\s{1,20}(?P<program>\S{1,100}) killed by "
        r"(?P<signal>SIG[A-Z]{2,7})",
        begins=True,
        system="linux",
    ),
    rule("crash_function:", r"^\W{0,8}crash_function:\s{1,20}(?P<function>\S{1,200})", aside=True),
    # apport
    rule("signal: ", r"^Signal: (?P<signal>\d{1,2})$"),
    rule("signalname: ", r"^SignalName: (?P<signal>SIG[A-Z]{2,7})$"),
    rule("executablepath: ", r"^ExecutablePath: (?P<program>(?P<path>/[^\n]{1,400}))$", aside=True),
    rule("architecture: ", r"^Architecture: (?P<isa>\w{2,10})$", aside=True),
)

STACKWALK = "minidump_stackwalk"
STACKWALK_RULES = (
    rule(
        "crash reason",
        r"\bCrash reason:?\s{1,8}(?P<signal>(?:EXCEPTION|SIG|EXC|STATUS)[A-Z_]{2,40})",
        begins=True,
    ),
    rule(
        "crashing instruction:",
        r"\bCrashing instruction: `?(?P<text>[^`\n]{2,200}?)`?$",
        aside=True,
    ),
    rule("crash address:", r"\bCrash address:\s{1,8}(?P<ip>0x[0-9a-f]{1,16})", aside=True),
    rule("cpu: ", r"^\W{0,4}CPU: (?P<isa>amd64|x86|arm64|arm|riscv64|mips64|ppc64)\b", aside=True),
    rule(
        "0  ",
        r"^\W{0,4}0\s{2}(?P<module>[^\s!]{1,200}) \+ (?P<offset>0x[0-9a-f]{1,16})$",
        aside=True,
        origin="image",
    ),
    rule(
        "0  ",
        r"^\W{0,4}0\s{2}(?P<module>[^\s!]{1,200})!(?P<function>[^\n\[]{1,300}?)(?: "
        r"\[.{0,300})?(?: \+ 0x[0-9a-f]{1,8})?$",
        aside=True,
    ),
)

TOMBSTONE = "Android tombstone"
TOMBSTONE_RULES = (
    rule("abi: ", r"\bABI: '(?P<isa>[\w-]{2,16})'", aside=True, system="android"),
    rule(
        "(si_",
        r"\bsignal (?P<signal>\d{1,2}) \(SIG[A-Z]{2,7}\), code -\d{1,3} \(SI_\w{3,10}\)",
        begins=True,
        sent=True,
        system="android",
    ),
    rule(
        "fatal signal ",
        r"\bFatal signal (?P<signal>\d{1,2}) \(SIG[A-Z]{2,7}\), code \d",
        begins=True,
        system="android",
    ),
    rule(
        "signal ",
        r"\bsignal (?P<signal>\d{1,2}) \(SIG[A-Z]{2,7}\), code -?\d{1,3} \(\w{4,16}[^()\n]{0,60}\)"
        r"(?:, fault addr (?P<at>[-0-9a-fx]{3,18}))?",
        begins=True,
        system="android",
    ),
    rule(
        "pid: ",
        r"\bpid: (?P<pid>\d{1,8}), tid: \d{1,8}, name: [^\n]{1,64}?\s{1,4}>>> "
        r"(?P<program>[^<\n]{1,200}) <<<",
        aside=True,
        system="android",
    ),
    rule(
        "#00 pc ",
        r"#00 pc (?P<offset>[0-9a-f]{8,16})\s{1,4}(?P<module>(?P<path>/\S{1,400}))(?: "
        r"\((?P<function>[^()\n]{1,300})\+\d{1,9}\))?",
        aside=True,
        origin="file",
    ),
)
_HEAD = re.compile(r"\bcode around (?:pc|rip|eip)\b|\bmemory near pc\b", re.IGNORECASE)
_X86_REGISTER = re.compile(r"\b[er](?:ip|ax|sp)\b", re.IGNORECASE)
_ROW = re.compile(
    r"^\W{0,4}([0-9a-f]{8}|[0-9a-f]{16})((?: (?:[0-9a-f]{16}|[0-9a-f]{8})){2,4})(?:\s|$)",
    re.IGNORECASE,
)


def read_tombstone(lines: Sequence[str]) -> Iterator[Clue]:
    """The rows under `code around pc:`, whose words are little-endian numbers.

    Of the ABIs of Android with 32-bit words, x86 names its registers: without these it is Arm.
    """
    of_x86 = any(_X86_REGISTER.search(line) is not None for line in lines)
    for at, line in enumerate(lines):
        if _HEAD.search(line) is None:
            continue
        memory: list[tuple[int, bytes]] = []
        widths: set[int] = set()
        for row in lines[at + 1 : at + 33]:
            match = _ROW.match(row)
            if match is None:
                break
            words = match[2].split()
            widths |= {len(match[1]), *map(len, words)}
            memory.append((int(match[1], 16), b"".join(bytes.fromhex(w)[::-1] for w in words)))
        if memory:
            yield Clue(at, Crash(TOMBSTONE), aside=True, memory=tuple(memory))
            if widths == {8} and not of_x86:
                yield Clue(at, Crash("sign", isa="arm"), aside=True)
