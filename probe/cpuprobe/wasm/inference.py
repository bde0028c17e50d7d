"""What the installed wasmtime infers on this machine, beside what the model of it expects."""

from __future__ import annotations

from cpuprobe.assessment.machine import Machine
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.wasmtime import nearest
from cpuprobe.wasm.installed import Inference

__all__ = ["Inference", "compare_inference", "refused_flags"]


def compare_inference(
    observation: Observation,
    flags: dict[str, bool],
    refuses: tuple[str, ...],
    inferred: dict[str, bool],
) -> Inference:
    """Holds the answer of the installed wasmtime against the model of it.

    Args:
        observation: of this machine.
        flags: the safe ones.
        refuses: flags that this wasmtime accepts on no host; it infers none of them.
        inferred: the answer: `introspect.installed_flags`.
    """
    machine = Machine(observation)
    detected = [machine.isa.detected(group, machine) for group in machine.groups]
    differ = []
    for flag, value in inferred.items():
        feature = machine.table.by_cranelift.get(flag)
        # It asks the CPU it happens to run on.
        expected = {
            feature is not None and flag not in refuses and feature.name in each
            for each in detected
        }
        if value not in expected:
            differ.append(flag)
    unsafe = tuple(flag for flag, value in inferred.items() if value and not flags.get(flag))
    return Inference(inferred, unsafe, tuple(differ))


def refused_flags(version: str) -> tuple[str, ...]:
    """The flags that this wasmtime accepts on no host; the newest release's if it is not known."""
    return nearest(version).refuses
