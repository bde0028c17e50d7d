"""Structure-aware fuzzing of the readers of ELF files, compiled wasm, cores and minidumps.

    python -m tests.fuzz.fuzz_containers -max_total_time=600 [CORPUS FOLDER]

Needs atheris (`pip install atheris`); the arguments are libFuzzer's. What takes more than 5 s
of CPU time or 1 GB is a crash, and written to the current folder.
"""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
from pathlib import Path

atheris = importlib.import_module("atheris")  # not a requirement of the test suite

with atheris.instrument_imports(include=["cpuprobe.code", "cpuprobe.evidence.crashes"]):
    import cpuprobe.code.read
    import cpuprobe.evidence.crashes.core_file
    import cpuprobe.evidence.crashes.minidump  # noqa: F401

from tests.fuzz.containers import check, limit_memory, mutate, seeds  # noqa: E402


def main() -> None:
    """Fuzz until the arguments say stop."""
    limit_memory()
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*sys.argv, "-max_len=131072", "-timeout=60"]
        if not any(not argument.startswith("-") for argument in sys.argv[1:]):
            for name, content in seeds().items():
                (Path(folder) / name).write_bytes(content)
            arguments.append(folder)
        atheris.Setup(
            arguments,
            check,
            custom_mutator=lambda content, most, seed: mutate(content, random.Random(seed), most),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
