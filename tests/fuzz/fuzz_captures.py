"""Coverage-guided fuzzing of every reader of captures.

    python -m tests.fuzz.fuzz_captures -runs=20000 -seed=1 [CORPUS FOLDER]

Needs atheris (`pip install atheris`); the arguments are libFuzzer's. A crash is written to the
current folder. Without a corpus folder the seeds of `inputs.py` are used.
"""

from __future__ import annotations

import importlib
import time

atheris = importlib.import_module("atheris")  # not a requirement of the test suite

with atheris.instrument_imports(include=["cpuprobe.evidence.machines", "cpuprobe.evidence.cpuid"]):
    import cpuprobe.evidence.machines.read  # noqa: F401

from tests.fuzz.engine import fuzz  # noqa: E402
from tests.fuzz.inputs import check, seeds  # noqa: E402  (after the instrumentation)


def soon(content: bytes) -> None:
    """Ten seconds of the CPU for any input; -timeout is of the clock, beside any load."""
    started = time.process_time()
    check(content)

    assert time.process_time() - started < 10


if __name__ == "__main__":
    fuzz(soon, seeds, "-max_len=65536", "-timeout=300")
