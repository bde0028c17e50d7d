"""Coverage-guided fuzzing of every reader of captures.

    python -m tests.fuzz.fuzz_captures -runs=20000 -seed=1 [CORPUS FOLDER]

Needs atheris (`pip install atheris`); the arguments are libFuzzer's. A crash is written to the
current folder. Without a corpus folder the seeds of `inputs.py` are used.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

atheris = importlib.import_module("atheris")  # not a requirement of the test suite

with atheris.instrument_imports(include=["cpuprobe.evidence.machines", "cpuprobe.evidence.cpuid"]):
    import cpuprobe.evidence.machines.read  # noqa: F401

from tests.fuzz.inputs import check, seeds  # noqa: E402  (after the instrumentation)


def one_input(content: bytes) -> None:
    """What libFuzzer calls; only a broken promise raises."""
    check(content)


def main() -> None:
    """Fuzz until the arguments say stop."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*sys.argv, "-max_len=65536", "-timeout=10"]
        if not any(not argument.startswith("-") for argument in sys.argv[1:]):
            for name, content in seeds().items():
                (Path(folder) / name).write_bytes(content)
            arguments.append(folder)
        atheris.Setup(arguments, one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
