"""The kernel witness: /proc/cpuinfo, and when not to believe it.

It never grants: Linux lists what faults (F16C when AVX is off). Its silence is weak too, and counts
only in a whole list, for a name that the kernel is known to print
(Documentation/arch/x86/cpuinfo.rst), and only if the file is this kernel's own word on this CPU.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from cpuprobe.assessment.model import SetAside
from cpuprobe.assessment.same_cpu import SameCpu
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.features import Feature, FeatureTable
from cpuprobe.facts.tables import load_table

# gVisor's sentry answers uname with a fixed build date of its own (pkg/sentry/syscalls/linux).
GVISOR_VERSION = "#1 SMP Sun Jan 10 15:06:54 PST 2016"

# Where a text does not tell its kernel's release: no older one is in use with a CPU whose features
# would be judged by it. Later names count only where something proves a later kernel.
OLDEST_IN_USE = (3, 6, 0)

Release = tuple[int, ...]


@functools.lru_cache(maxsize=4096)
def release_number(text: str | None) -> Release | None:
    """`6.1.0-49-amd64` as (6, 1, 0); None if it does not begin like a Linux release."""
    match = re.match(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?", text or "", re.ASCII)
    return tuple(int(part or 0) for part in match.groups()) if match else None


class Listing(NamedTuple):
    """The names that one block of /proc/cpuinfo lists, and whether those are all."""

    cpus: frozenset[int]
    names: frozenset[str]
    whole: bool


class KernelWitness:
    """What /proc/cpuinfo says of each CPU, or why it is set aside."""

    def __init__(
        self, observation: Observation, key: str, same_cpu: SameCpu, table: FeatureTable
    ) -> None:
        """Read the witness of `observation`.

        Args:
            observation: of which machine.
            key: of the kernel's list of features in /proc/cpuinfo.
            same_cpu: whether a block describes the CPU that was measured.
            table: the features of its instruction set.
        """
        self._key = key
        self.set_aside = _reason_to_set_aside(observation, key, same_cpu)
        blocks = () if self.set_aside is not None else observation.cpuinfo or ()
        self._listings = [
            Listing(
                frozenset(block.cpus),
                frozenset(block.fields.get(key, "").split()),
                block.incomplete is None,
            )
            for block in blocks
        ]
        told = release_number(observation.kernel.release)
        self.release = told or self._proven_release(observation, table)
        # A list that is whole, of a kernel whose age is not told beyond that.
        self.of_unknown_age = (
            told is None
            and bool(self._listings)
            and all(listing.whole for listing in self._listings)
        )
        self._known = frozenset(table.by_kernel_flag)

    def _proven_release(self, observation: Observation, table: FeatureTable) -> Release:
        """The release that what is listed proves at least."""
        listed = frozenset[str]().union(*(listing.names for listing in self._listings))
        known = table.by_kernel_flag
        proofs = [known[name].kernel.since for name in listed & known.keys()]
        ages = "kernel_age" if self._key == "flags" else "kernel_age_aarch64"
        for row in load_table("quirks")[ages]:
            if not listed.isdisjoint(
                row.get("words", ())
            ) or not observation.vulnerabilities.keys().isdisjoint(row.get("vulnerabilities", ())):
                proofs.append(row["linux"])
        return max([OLDEST_IN_USE, *(release_number(proof) or () for proof in proofs)])

    def listings(self, cpus: Sequence[int]) -> list[Listing]:
        """The blocks that speak of any of `cpus`."""
        return [listing for listing in self._listings if not listing.cpus.isdisjoint(cpus)]

    def parts(self, cpus: tuple[int, ...]) -> list[tuple[int, ...]]:
        """`cpus` apart where their blocks differ in what this program knows.

        CPUs without a block stay with the first.
        """
        listings = self.listings(cpus)
        if len({(listing.names & self._known, listing.whole) for listing in listings}) < 2:
            return [cpus]
        parts: dict[object, list[int]] = {}
        alone: list[int] = []
        for cpu in cpus:
            own = frozenset(
                (each.names & self._known, each.whole) for each in listings if cpu in each.cpus
            )
            (parts.setdefault(own, []) if own else alone).append(cpu)
        first, *rest = parts.values()
        return [tuple(sorted((*first, *alone))), *map(tuple, rest)]

    def lists(self, feature: Feature, listings: Sequence[Listing]) -> bool | None:
        """Whether the kernel lists `feature` in all of `listings`; None where it cannot speak.

        A missing name says no only in a whole list of a release that is known to print it, and only
        of a feature that programs can use: Linux drops XSAVES on some AMD CPUs, which is its own
        affair.
        """
        flag, also = feature.kernel.flag, feature.kernel.also
        if flag is None or not listings:
            return None
        silent = [
            listing
            for listing in listings
            if flag not in listing.names and (also is None or also not in listing.names)
        ]
        if not silent:
            return True
        since = release_number(feature.kernel.since)
        if feature.privileged or since is None or self.release < since:
            return None
        return False if any(listing.whole for listing in silent) else None


def _reason_to_set_aside(observation: Observation, key: str, same_cpu: SameCpu) -> SetAside | None:
    blocks = observation.cpuinfo
    if not blocks:
        return "missing"
    if observation.cpuinfo_mount is not None:
        return "covered"
    if observation.kernel.version == GVISOR_VERSION:
        return "gvisor"
    if not all(key in block.fields for block in blocks):
        return "no-flags" if key == "flags" else "no-features"
    if all(same_cpu(block) is False for block in blocks):
        return "another-cpu"
    return None
