"""From what the readers found in one text to one observation of one machine.

A paste often holds several things about the same machine: `cpuid -r`, lscpu, a part of sysfs. CPUID
leaves come from the dump that holds most; the kernel's list, vulnerabilities, command line and
release join them if vendor, family, model and stepping do not contradict the leaves.
"""

from __future__ import annotations

from collections.abc import Sequence

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.machines.aida64 import Aida64Reader
from cpuprobe.evidence.machines.cpuid_raw import CpuidRawReader
from cpuprobe.evidence.machines.dump import cpu_header
from cpuprobe.evidence.machines.kernel_words import KernelWordsReader
from cpuprobe.evidence.machines.libcpuid import LibcpuidReader
from cpuprobe.evidence.machines.lscpu import Listing, LscpuReader
from cpuprobe.evidence.machines.proc_cpuinfo import ProcCpuinfoReader
from cpuprobe.evidence.observation import CpuGroup, Cpuinfo, Kernel, Observation
from cpuprobe.evidence.text.paste import lines


class TextReader:
    """All line readers over one text."""

    def __init__(self) -> None:
        """Readers that have seen nothing."""
        self._dumps = (CpuidRawReader(), Aida64Reader(), LibcpuidReader())
        self._cpuinfo = ProcCpuinfoReader()
        self._lscpu = LscpuReader()
        self._kernel = KernelWordsReader()

    def read_text(self, text: str) -> None:
        """Gives every line to the reader that knows it.

        Raises:
            CaptureError: a reader found a contradiction, or a bound was passed.
        """
        takers = [
            reader.take for reader in (*self._dumps, self._cpuinfo, self._lscpu, self._kernel)
        ]
        for line in lines(text):
            header = cpu_header(line)
            if header is not None:
                for reader in self._dumps:
                    reader.dump.begin(header)
                continue
            for take in takers:
                if take(line):
                    break

    def read_json(self, listing: Listing) -> None:
        """Takes an `lscpu -J` document."""
        self._lscpu.read_json(listing)

    def observation(self) -> Observation | None:
        """The machine that was described, None if none was."""
        found = [(reader.dump.groups(), reader.kind) for reader in self._dumps]
        groups, kind = max(found, key=lambda each: sum(len(group.cpuid) for group in each[0]))
        blocks, told_by = self._cpuinfo.blocks(), self._cpuinfo.kind
        numbered = self._cpuinfo.numbered
        listed = self._lscpu.blocks()
        vulnerabilities = dict(self._kernel.vulnerabilities)
        if not blocks:
            blocks, told_by, numbered = listed, self._lscpu.kind, bool(listed)
        if not (blocks and listed) or _agree(_identity(blocks[0]), _identity(listed[0])):
            vulnerabilities = {**self._lscpu.vulnerabilities, **vulnerabilities}
        if groups:
            return self._of_dump(kind, groups, blocks, numbered, vulnerabilities)
        if blocks:
            return Observation(
                source=told_by,
                executed=False,
                groups=tuple(CpuGroup(cpus=block.cpus) for block in blocks),
                cpuinfo=blocks,
                kernel=self._kernel.kernel,
                cmdline=self._kernel.cmdline,
                vulnerabilities=vulnerabilities,
            )
        if vulnerabilities:
            return Observation(
                source=self._kernel.kind,
                executed=False,
                groups=(CpuGroup(cpus=(0,)),),
                kernel=self._kernel.kernel,
                cmdline=self._kernel.cmdline,
                vulnerabilities=vulnerabilities,
            )
        return None

    def _of_dump(
        self,
        kind: str,
        groups: tuple[CpuGroup, ...],
        blocks: tuple[Cpuinfo, ...],
        numbered: bool,
        vulnerabilities: dict[str, str],
    ) -> Observation:
        kernel, cmdline = self._kernel.kernel, self._kernel.cmdline
        identity = _cpuid_identity(groups)
        if blocks and not any(_agree(_identity(block), identity) for block in blocks):
            # Another machine's: the assessment says so of the cpuinfo, and the rest is dropped.
            kernel, cmdline, vulnerabilities = Kernel(), None, {}
        if blocks and not numbered:
            # A pasted flags line names no CPU: it is about those of the dump.
            cpus = tuple(sorted(cpu for group in groups for cpu in group.cpus))
            if len(blocks) == 1:
                blocks = (Cpuinfo(cpus=cpus, fields=blocks[0].fields),)
        return Observation(
            source=kind,
            executed=False,
            groups=groups,
            cpuinfo=blocks or None,
            kernel=kernel,
            cmdline=cmdline,
            vulnerabilities=vulnerabilities,
        )


def _identity(block: Cpuinfo) -> tuple[str | None, ...]:
    fields = block.fields
    return tuple(fields.get(key) for key in ("vendor_id", "cpu family", "model", "stepping"))


def _cpuid_identity(groups: Sequence[CpuGroup]) -> tuple[str | None, ...]:
    cpuid = Cpuid(min(groups, key=lambda group: min(group.cpus)).cpuid)
    if cpuid.signature is None:
        return (cpuid.vendor, None, None, None)
    return (cpuid.vendor, *(str(part) for part in cpuid.signature))


def _agree(one: Sequence[str | None], other: Sequence[str | None]) -> bool:
    """Whether nothing known of two identities differs."""
    return all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))


def read_lines(text: str, listings: Sequence[Listing] = ()) -> Observation | None:
    """The machine described by the lines of a text and by `lscpu -J` documents in it.

    Raises:
        CaptureError: contradictory or beyond a bound.
    """
    reader = TextReader()
    for listing in listings:
        reader.read_json(listing)
    reader.read_text(text)
    try:
        return reader.observation()
    except ValueError as error:  # what `Observation` refuses
        raise CaptureError(str(error)) from None
