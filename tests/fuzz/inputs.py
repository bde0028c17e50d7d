"""What every fuzzer of the readers shares: seeds, and the one promise that is checked."""

from __future__ import annotations

from pathlib import Path

from cpuprobe.assessment import assess
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.report.document import make_report, to_json
from tests.fakes import gds_machine

SAMPLES = Path(__file__).parents[1] / "data" / "captures"


def seeds(most: int = 4096) -> dict[str, bytes]:
    """A valid start of each kind of capture, by name, none longer than `most` bytes but reports."""
    found = {path.name: path.read_bytes()[:most] for path in sorted(SAMPLES.glob("*.txt"))}
    machine = gds_machine()
    report = to_json(make_report(machine, assess(machine)))
    found["report.json"] = report
    found["report.md"] = b"> <details>\n> ```json\n> " + report + b"> ```\n> </details>\n"
    found["lscpu.json"] = (
        b'{"lscpu": [{"field": "Architecture:", "data": "x86_64"},'
        b' {"field": "On-line CPU(s) list:", "data": "0-3"},'
        b' {"field": "Flags:", "data": "fpu sse avx lm", "children": [{"field": "Model:"}]}]}'
    )
    found["libcpuid-raw.txt"] = (
        b"_________________ Logical CPU #0 _________________\n"
        b"basic_cpuid[0]=00000001 68747541 444d4163 69746e65\n"
        b"basic_cpuid[1]=00000612 00000000 00000000 0081f9ff\n"
        b"intel_fn4[0]=00000612 00000000 00000000 0081f9ff\n"
    )
    return found


def check(content: bytes) -> bool:
    """Reads and assesses; whether it was a capture.

    Raises:
        AssertionError: the refusal is not one short line, or a report of what was read does not
            read back to it.
    """
    try:
        observation = parse_capture(content)
    except CaptureError as error:
        message = str(error)
        assert message and len(message) < 400 and message.isprintable(), message
        return False
    assessment = assess(observation)
    assert parse_capture(to_json(make_report(observation, assessment))) == observation
    return True
