"""The main job: this machine measured, assessed and shown. It takes no option parser."""

from __future__ import annotations

from cpuprobe.assessment import assess
from cpuprobe.cli.common import show
from cpuprobe.evidence.measure import observe
from cpuprobe.words import HERE


def probe(
    json: bool = False,
    every: bool = False,
    share: bool = False,
    cpus: str | None = None,
    execute: bool = True,
    root: str = "/",
    repeat: int = 1,
) -> int:
    """Probes this machine, prints what was found, and returns the exit code.

    Args:
        json: as one JSON document.
        every: every feature.
        share: end with the code that `inspect` reads.
        cpus: only these CPUs, a list as taskset's; None for all that are allowed.
        execute: run the candidates.
        root: where /proc and /sys lie.
        repeat: how often each candidate runs.

    Raises:
        CannotMeasureError: this machine cannot be measured.
        UsageError: the CPUs or the number of rounds are none.
    """
    if repeat == 1:
        observation = observe(cpus=cpus, execute=execute, root=root)
    else:
        from cpuprobe.cli.output import progress

        with progress() as bar:
            observation = observe(
                cpus=cpus,
                execute=execute,
                root=root,
                repeat=repeat,
                progress=lambda done, of: bar("rounds", done, of),
            )
    return show([(HERE, observation, assess(observation))], json, every, share)
