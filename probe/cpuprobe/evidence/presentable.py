"""What was read from a text, put into the shapes of a report."""

from __future__ import annotations

from typing import Any

import msgspec

from cpuprobe.evidence.observation import Cpuinfo, Kernel, Observation, ToldIdentity
from cpuprobe.evidence.shapes import Release, Word, has_shape
from cpuprobe.words import visible


def presentable(observation: Observation) -> Observation:
    """What was read from a text with every string in its shape: a report of it can be read back.

    Characters that nobody sees are replaced, and a release or words of the command line that are
    none left out.
    """
    cpuinfo, cmdline, said = observation.cpuinfo, observation.cmdline, observation.identity
    release, version = observation.kernel.release, observation.kernel.version
    if release is not None and not has_shape(release, Release):
        release = None
    if cpuinfo is not None:
        cpuinfo = tuple(
            Cpuinfo(block.cpus, {k: visible(v) for k, v in block.fields.items()}, block.incomplete)
            for block in cpuinfo
        )
    if said is not None:
        named: dict[str, Any] = {
            key: visible(value)[:256] if isinstance(value, str) else value
            for key, value in msgspec.structs.asdict(said).items()
        }
        said = ToldIdentity(**named)
    return msgspec.structs.replace(
        observation,
        kernel=Kernel(release, None if version is None else visible(version)),
        cpuinfo=cpuinfo,
        cmdline=cmdline and tuple(word for word in cmdline if has_shape(word, Word)),
        vulnerabilities={k: visible(v) for k, v in observation.vulnerabilities.items()},
        identity=said,
    )
