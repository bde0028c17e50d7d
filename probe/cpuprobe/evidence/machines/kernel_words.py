"""What else of a kernel is found in a paste: vulnerabilities, release, command line.

    /sys/devices/system/cpu/vulnerabilities/gather_data_sampling:Mitigation: Microcode
    gather_data_sampling: Mitigation: Microcode
    Linux version 6.1.0-49-amd64 (...) / Linux somewhere 6.1.0-49-amd64 #1 SMP ... x86_64 GNU/Linux
    Kernel command line: BOOT_IMAGE=... / BOOT_IMAGE=...

Only known words are kept: a host name, a user or a disk's UUID never enters an observation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from cpuprobe.evidence.observation import Kernel
from cpuprobe.facts.features import load_features, load_table

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
    r"(#\d.{0,120}?)(?: x86_64\b.*)?$)"
)
_MAXIMUM_CMDLINE = 4096  # COMMAND_LINE_SIZE is 2048 on x86
_CMDLINE_START = re.compile(r"(?:.{0,40}(?:Kernel c|C)ommand line: |BOOT_IMAGE=|initrd=)")


_NUMBER = re.compile(r"[0-9]{1,6}")


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


class KernelWordsReader:
    """Reads lines about the running kernel."""

    kind = "vulnerabilities"

    def __init__(self) -> None:
        """A reader that has seen nothing."""
        self.vulnerabilities: dict[str, str] = {}
        self._kernels: set[tuple[str, str | None]] = set()
        self.cmdline: tuple[str, ...] | None = None

    def take(self, line: str) -> bool:
        """Whether the line says something about the kernel."""
        if ":" in line and (match := _VULNERABILITY.match(line)) and match[1] in VULNERABILITIES:
            self.vulnerabilities.setdefault(match[1], match[2].strip())
            return True
        if "Linux " in line and (match := _RELEASE.match(line)):
            if len(self._kernels) < 2:
                self._kernels.add((match[1] or match[2], match[3]))
            return True
        if self.cmdline is None and "=" in line and _CMDLINE_START.match(line):
            words = line[:_MAXIMUM_CMDLINE].replace('"', " ").split()
            self.cmdline = tuple(kept for word in words if (kept := known_word(word)) is not None)
            return True
        return False

    @property
    def kernel(self) -> Kernel:
        """Release and version, unknown where the text names several releases."""
        releases = {release for release, _ in self._kernels}
        if len(releases) != 1:
            return Kernel()
        versions = {version for _, version in self._kernels if version is not None}
        return Kernel(
            release=releases.pop(), version=versions.pop() if len(versions) == 1 else None
        )
