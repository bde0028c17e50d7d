"""What else of a kernel is found in a paste: vulnerabilities, release, command line.

    /sys/devices/system/cpu/vulnerabilities/gather_data_sampling:Mitigation: Microcode
    gather_data_sampling: Mitigation: Microcode
    Linux version 6.1.0-49-amd64 (...) / Linux somewhere 6.1.0-49-amd64 #1 SMP ... x86_64 GNU/Linux
    Kernel command line: BOOT_IMAGE=... / BOOT_IMAGE=...

Only known words are kept: a host name, a user or a disk's UUID never enters an observation.
"""

from __future__ import annotations

import re

from cpuprobe.evidence.observation import Kernel

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
# The words of the command line that bear on CPU features; the native core keeps the same ones
# (Documentation/admin-guide/kernel-parameters.txt).
_CMDLINE = frozenset(
    {
        "gather_data_sampling",
        "clearcpuid",
        "setcpuid",
        "noxsave",
        "noxsaveopt",
        "noxsaves",
        "nofxsr",
        "nofsgsbase",
        "nopku",
        "mitigations",
        "nosmp",
        "nosmt",
        "maxcpus",
        "nr_cpus",
        "possible_cpus",
        "tsx",
        "tsx_async_abort",
        "reg_file_data_sampling",
        "rdrand",
        "dis_ucode_ldr",
        "noapic",
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
            self.cmdline = tuple(word for word in words if word.partition("=")[0] in _CMDLINE)
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
