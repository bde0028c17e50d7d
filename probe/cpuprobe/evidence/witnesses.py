"""Asks other libraries who this machine is: py-cpuinfo in a child process, archspec here.

Both are optional (`pip install cpuprobe[report]`). py-cpuinfo takes over a second, so it is started
before the probe and collected after it. Of its answer only the fields of `OtherIdentity` are kept.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from cpuprobe.evidence.container import container
from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.distribution import distribution
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.features import load_features

if TYPE_CHECKING:
    from archspec.cpu import Microarchitecture as Target

_PATIENCE = 20  # seconds for py-cpuinfo, which needs one or two
_INSTALL = "pip install 'cpuprobe[report]'"


class OtherIdentity(msgspec.Struct, frozen=True):
    """What another library says this machine is; only these fields of its answer are ever kept.

    Attributes:
        library: its name and version.
        vendor: as in CPUID.
        brand: as in CPUID.
        family: display family.
        model: display model.
        stepping: stepping.
        flags: features in the library's own words.
    """

    library: str
    vendor: str | None = None
    brand: str | None = None
    family: int | None = None
    model: int | None = None
    stepping: int | None = None
    flags: tuple[str, ...] = ()


class Microarchitecture(msgspec.Struct, frozen=True):
    """A microarchitecture's name by features, and who said so.

    Attributes:
        library: its name and version.
        name: as the library names it.
        requires: the features a compiler would use for it, by canonical name.
    """

    library: str
    name: str
    requires: tuple[str, ...] = ()


class ExternalWitnesses(msgspec.Struct, frozen=True):
    """What was asked besides the probe; None and empty where it was not, or could not be.

    Attributes:
        container: the kind of container this ran in.
        distribution: what the system calls itself.
        microarchitecture: told from the features that CPUID claims.
        others: independent witnesses of this machine.
        host_microarchitecture: what archspec itself takes this machine for.
        notes: what was not asked, and why.
    """

    container: str | None = None
    distribution: str | None = None
    microarchitecture: Microarchitecture | None = None
    host_microarchitecture: Microarchitecture | None = None
    others: tuple[OtherIdentity, ...] = ()
    notes: tuple[str, ...] = ()


class _CpuinfoAnswer(msgspec.Struct):
    """The keys of py-cpuinfo's JSON that are looked at."""

    vendor_id_raw: str | None = None
    brand_raw: str | None = None
    family: int | None = None
    model: int | None = None
    stepping: int | None = None
    flags: list[str] = []


class PyCpuinfo:
    """py-cpuinfo, running in a child process from the moment this is made."""

    def __init__(self) -> None:
        """Start it, if it is installed."""
        self._child: subprocess.Popen[bytes] | None = None
        self.note: str | None = None
        found = importlib.util.find_spec("cpuinfo")
        folders = list(found.submodule_search_locations or ()) if found is not None else []
        if not folders:
            self.note = f"py-cpuinfo was not asked: it is not installed ({_INSTALL})"
            return
        # As the library starts itself (cpuinfo.py, get_cpu_info_json), minus one interpreter.
        try:
            self._child = subprocess.Popen(
                [sys.executable, os.path.join(folders[0], "cpuinfo.py"), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            self.note = f"py-cpuinfo was not asked: {error.strerror}"

    def answer(self) -> OtherIdentity | None:
        """What it says; None, and the reason in `note`, if it says nothing."""
        if self._child is None:
            return None
        try:
            output, _ = self._child.communicate(timeout=_PATIENCE)
            said = msgspec.json.decode(output, type=_CpuinfoAnswer)
        except subprocess.TimeoutExpired:
            self.stop()
            self.note = f"py-cpuinfo did not answer within {_PATIENCE} seconds"
            return None
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.note = f"py-cpuinfo gave no answer (exit code {self._child.returncode})"
            return None
        return OtherIdentity(
            library=_library("py-cpuinfo"),
            vendor=said.vendor_id_raw,
            brand=said.brand_raw,
            family=said.family,
            model=said.model,
            stepping=said.stepping,
            flags=tuple(said.flags),
        )

    def stop(self) -> None:
        """End the child if it still runs."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.communicate()


def _library(distribution: str) -> str:
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        return distribution


def surroundings_here(observation: Observation, cpuinfo: PyCpuinfo) -> ExternalWitnesses:
    """Everything that can be asked about this machine besides the probe."""
    said = cpuinfo.answer()
    named = microarchitecture(observation)
    host = _archspec_host()
    notes = [] if cpuinfo.note is None else [cpuinfo.note]
    if importlib.util.find_spec("archspec") is None:
        notes.append(f"archspec was not asked: it is not installed ({_INSTALL})")
    return ExternalWitnesses(
        container=container(),
        distribution=distribution(),
        microarchitecture=named,
        host_microarchitecture=host,
        others=() if said is None else (said,),
        notes=tuple(notes),
    )


def surroundings_of_capture(observation: Observation, root: str | None = None) -> ExternalWitnesses:
    """What can be told about a machine that is elsewhere, or lies below `root`."""
    return ExternalWitnesses(
        distribution=None if root is None else distribution(root),
        microarchitecture=microarchitecture(observation),
    )


def microarchitecture(observation: Observation) -> Microarchitecture | None:
    """The nearest microarchitecture by features, None without archspec or without CPUID.

    By archspec's rule: of the targets whose features CPUID all claims, the best generic one
    (`x86_64_v4`), or the best of the vendor's that builds on it. Unlike its `host()` only features
    that cpuprobe knows count, not kernel words such as `flush_l1d`.
    """
    flags = _kernel_flags()
    cpuid = Cpuid(min(observation.groups, key=lambda group: min(group.cpus)).cpuid)
    if cpuid.vendor is None:
        return None
    claimed = {name for name, feature in load_features().items() if cpuid.bit(feature.cpuid)}
    fitting = [
        target
        for target in _targets()
        if target.vendor in (cpuid.vendor, "generic")
        and str(target.family) == "x86_64"
        and all(flags[each] in claimed for each in target.features if each in flags)
    ]

    def place(target: Target) -> tuple[int, int, str]:
        return len(target.ancestors), len(target.features), target.name

    generic = max((each for each in fitting if each.vendor == "generic"), key=place, default=None)
    if generic is None:
        return None
    own = [each for each in fitting if each.vendor != "generic" and generic in each.ancestors]
    return _named(max(own, key=place, default=generic), flags)


def _kernel_flags() -> dict[str, str]:
    """Our names by the kernel's, which are archspec's too."""
    return {flag: feature.name for flag, feature in load_features().by_kernel_flag.items()}


def _named(target: Target, flags: dict[str, str]) -> Microarchitecture:
    requires = sorted(flags[each] for each in target.features if each in flags)
    return Microarchitecture(_library("archspec"), target.name, tuple(requires))


def _targets() -> Collection[Target]:
    try:
        from archspec.cpu import TARGETS
    except ImportError:
        return ()
    targets: Collection[Target] = list(TARGETS.values())
    return targets


def _archspec_host() -> Microarchitecture | None:
    """What archspec takes this machine for; it reads /proc/cpuinfo only."""
    try:
        from archspec.cpu import host
    except ImportError:
        return None
    return _named(host(), _kernel_flags())
