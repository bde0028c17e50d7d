"""What is called invalid on every CPU dies here too, and what was probably meant is no reason."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from cpuprobe.code.instructions import instructions
from tests.crash.programs import build


@pytest.mark.parametrize(
    "code",
    [
        "66c5f057c9",  # vxorps behind 66
        "f3c5f057c9",
        "40c5f057c9",  # behind REX
        "f0c5f057c9",  # behind LOCK
        "c4e37d15c000",  # vpextrw with VEX.L=1
        "c4e37919c101",  # vextractf128 with VEX.L=0
        "c5f028c1",  # vmovaps with an operand in vvvv
        "f001c0",  # lock add between registers
        "f089d8",  # lock mov
        *("06", "07", "0e", "16", "17", "1e", "1f", "27", "2f", "37", "3f", "60", "61", "82c001"),
        *("9a00000000000000", "ce", "d40a", "d6", "ea00000000000000", "6606", "4806"),
    ],
)
def test_it_raises_sigill_on_this_cpu(code: str, tmp_path: Path) -> None:
    """By execution, whether this CPU has AVX or not."""
    program = build(tmp_path, "dead", bytes.fromhex(code))
    ended = subprocess.run([program, "e"], timeout=60)

    assert instructions(bytes.fromhex(code))[0].decoded.kind == "always-invalid"
    assert ended.returncode == -signal.SIGILL
