"""What else of a kernel is found in a paste: vulnerabilities, release, command line.

    /sys/devices/system/cpu/vulnerabilities/gather_data_sampling:Mitigation: Microcode
    gather_data_sampling: Mitigation: Microcode
    Linux version 6.1.0-49-amd64 (...) / Linux somewhere 6.1.0-49-amd64 #1 SMP ... x86_64 GNU/Linux
    Kernel command line: BOOT_IMAGE=... / BOOT_IMAGE=...

Only known words are kept: a host name, a user or a disk's UUID never enters an observation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from cpuprobe.evidence.machines.isa import isa_named
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Kernel
from cpuprobe.facts.features import load_features
from cpuprobe.facts.tables import load_table

# Files of /sys/devices/system/cpu/vulnerabilities, Linux 4.15 to 6.17
# (Documentation/ABI/testing/sysfs-devices-system-cpu).
VULNERABILITIES = frozenset(
    {
        "gather_data_sampling",
        "ghostwrite",
        "indirect_target_selection",
        "itlb_multihit",
        "l1tf",
        "mds",
        "meltdown",
        "mmio_stale_data",
        "old_microcode",
        "reg_file_data_sampling",
        "retbleed",
        "spec_rstack_overflow",
        "spec_store_bypass",
        "spectre_v1",
        "spectre_v2",
        "srbds",
        "tsa",
        "tsx_async_abort",
        "vmscape",
    }
)
_VULNERABILITY = re.compile(r"(?:.{0,64}/vulnerabilities/)?([a-z0-9_]{3,40}):[ \t]{0,8}(.{1,256})")
# The banner and `uname -a`; prose that mentions a version is neither.
_VERSION = r"(\d{1,3}\.\d{1,3}[0-9A-Za-z.+~_-]{0,80})"
_RELEASE = re.compile(
    rf"(?:.{{0,40}}\bLinux version {_VERSION} \(|Linux [A-Za-z0-9._-]{{1,64}} {_VERSION} "
    r"(#\d.{0,120}?)(?: "
    r"(x86_64|i[3-6]86|aarch64|armv\w+|riscv64|s390x|ppc64\w*|loongarch64|mips\w*)\b.*)?$)"
)
_MAXIMUM_CMDLINE = 4096  # COMMAND_LINE_SIZE is 2048 on x86
_CMDLINE_START = re.compile(r"(?:.{0,40}(?:Kernel c|C)ommand line: |BOOT_IMAGE=|initrd=)")

_NUMBER = re.compile(r"[0-9]{1,6}")
_MAXIMUM_DIGITS = 8  # of a date


@cache
def _words() -> Mapping[str, Mapping[str, object]]:
    return {word["name"]: word for word in load_table("kernel")["word"]}


@cache
def _kernel_names() -> frozenset[str]:
    return frozenset(f.kernel.flag for f in load_features().values() if f.kernel.flag)


def known_word(word: str) -> str | None:
    """A word of the kernel's command line with what is known of its value, None if nothing is.

    The rules stand in profiles/kernel.toml; native/system.c keeps the same words.
    """
    name, has_value, value = word.partition("=")
    row = _words().get(name)
    if row is None or not has_value:
        return None if row is None else name
    values = row.get("values", ())
    assert isinstance(values, (list, tuple))
    kept = [
        piece
        for piece in value.split(",")
        if piece in values
        or (row.get("numbers") and _NUMBER.fullmatch(piece))
        or (row.get("features") and piece in _kernel_names())
    ]
    return f"{name}={','.join(kept)}" if kept else None


_VERSION_PARTS = re.compile(r"[A-Za-z_]+|[0-9]+|[#.:+~()-]")


def known_version(text: str) -> str | None:
    """`uname -v` without the words that may be a builder's name or host, None if nothing is left.

    The rules stand in profiles/kernel.toml; native/system.c keeps the same words.
    """
    letters = set(load_table("kernel")["version"]["words"])
    kept = []
    for word in text.split(" "):
        parts = _VERSION_PARTS.findall(word)
        if (
            word
            and "".join(parts) == word
            and all(
                part in letters or (part.isdecimal() and len(part) <= _MAXIMUM_DIGITS)
                if part.isalnum() or "_" in part
                else True
                for part in parts
            )
        ):
            kept.append(word)
    return " ".join(kept) or None


def known_options(text: str) -> tuple[str, ...]:
    """The words of a kernel command line that bear on CPU features."""
    words = text[:_MAXIMUM_CMDLINE].replace('"', " ").split()
    return tuple(kept for word in words if (kept := known_word(word)) is not None)


def _read(paste: Paste) -> Iterator[Sighting]:
    vulnerabilities: dict[str, str] = {}
    kernels: set[tuple[str, str | None]] = set()
    machines: dict[str, int] = {}
    cmdline: tuple[str, ...] | None = None
    first: int | None = None
    for number, whole in enumerate(paste.lines):
        line = whole.strip()
        if ":" in line and (match := _VULNERABILITY.match(line)) and match[1] in VULNERABILITIES:
            vulnerabilities.setdefault(match[1], match[2].strip())
        elif "Linux " in line and (match := _RELEASE.match(line)):
            if len(kernels) < 2:
                kernels.add((match[1] or match[2], match[3] and known_version(match[3])))
            if match[4] and (isa := isa_named(match[4])):
                machines.setdefault(isa, number)
        elif cmdline is None and "=" in line and _CMDLINE_START.match(line):
            cmdline = known_options(line)
        else:
            continue
        first = number if first is None else first
    if first is None:
        return
    # Release and version are not known where the text names several.
    releases = {release for release, _ in kernels}
    versions = {version for _, version in kernels if version is not None}
    yield Sighting(
        source="vulnerabilities",
        line=first,
        isa=next(iter(machines)) if len(machines) == 1 else None,
        vulnerabilities=vulnerabilities,
        kernel=Kernel(
            release=releases.pop(), version=versions.pop() if len(versions) == 1 else None
        )
        if len(releases) == 1
        else None,
        cmdline=cmdline,
        weak=True,
    )


FORMAT = Format(
    title="uname -a, the kernel's banner and command line, files of sysfs on vulnerabilities",
    carries="the kernel's release, switches that bear on features, vulnerabilities; no feature",
    evidence="identity",
    make="uname -a; grep -r . /sys/devices/system/cpu/vulnerabilities",
    read=_read,
)
