"""What a reader of an assessment should know beside its findings, in words."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.causes import set_aside
from cpuprobe.assessment.machine import Machine
from cpuprobe.words import cpu_list


def notes_on(machine: Machine) -> Iterator[str]:
    """What was set aside, not measured, denied or disturbed, and what many rounds prove."""
    observation = machine.observation
    reason = machine.kernel.set_aside
    if reason is not None:
        words = set_aside(reason, mount=observation.cpuinfo_mount or "")
        yield f"the kernel witness is set aside: {words}"
    if observation.isa == "i686":
        yield "a 32-bit kernel: programs there are 32-bit, and psABI levels are of 64-bit ones"
    if not all(group.pinned for group in observation.groups):
        yield "the probe could not be pinned: only the CPU it happened to run on was seen"
    if observation.unmeasured_cpus:
        cpus = cpu_list(observation.unmeasured_cpus)
        yield f"not measured: CPU {cpus} (offline, or pinning is forbidden)"
    rounds = max((g.repeated.rounds for g in observation.groups if g.repeated), default=1)
    if rounds > 1:
        yield (
            f"every candidate ran {rounds} times on each CPU: that none failed would prove nothing "
            "for ever, a core may err once in a billion times or only when it is hot"
        )
    if observation.denied:
        yield f"a sandbox denied the probe {', '.join(observation.denied)}"
    disturbed = {name for group in observation.groups for name in group.disturbed or ()}
    if disturbed:
        yield f"left out because the probe was disturbed: {', '.join(sorted(disturbed))}"
