"""CP601: where this machine stands on Gather Data Sampling (Downfall)."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.causes import GDS_DISABLED, gds_affected
from cpuprobe.assessment.machine import Machine, finding
from cpuprobe.assessment.model import Finding

_FILE = "/sys/devices/system/cpu/vulnerabilities/gather_data_sampling"


def gds_findings(machine: Machine) -> Iterator[Finding]:
    """At most one finding, and only on a CPU that has the flaw.

    The kernel's text is believed about the mitigation, never about whether the CPU has the flaw: a
    file that says "AVX disabled" on a CPU outside the kernel's own list is somebody's mistake.
    """
    affected = gds_affected(machine)
    text = machine.observation.vulnerabilities.get("gather_data_sampling")
    if (
        affected is None
        or (text is None and not machine.observation.cmdline)
        or text == "Not affected"
    ):
        return
    evidence = [
        f"{_FILE}: {text}" if text is not None else f"{_FILE} is not there",
        f"this CPU has the flaw: {affected}",
        *(f"kernel command line: {word}" for word in machine.option("gather_data_sampling")),
    ]
    meaning = "the file is missing: a kernel older than August 2023, or /sys is hidden"
    if text is not None:
        if GDS_DISABLED in text:
            meaning = "AVX is disabled, because the microcode has no mitigation of its own"
        elif text.startswith("Vulnerable"):
            meaning = "AVX is on and the CPU is vulnerable"
        elif text.startswith("Mitigation"):
            meaning = "AVX is on; microcode mitigates, gathers are slower"
        else:
            meaning = "inside a virtual machine the host decides"
    yield finding("CP601", [], machine.all_cpus, evidence, (meaning, ""))
