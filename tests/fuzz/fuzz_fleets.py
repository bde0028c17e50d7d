"""Structure-aware fuzzing of the readers of archives and Parquet.

    python -m tests.fuzz.fuzz_fleets -max_total_time=600 [CORPUS FOLDER]

Needs atheris (`pip install atheris`); the arguments are libFuzzer's.
"""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
from pathlib import Path

atheris = importlib.import_module("atheris")  # not a requirement of the test suite

with atheris.instrument_imports(include=["cpuprobe.fleet"]):
    import cpuprobe.fleet.archives  # noqa: F401

from tests.fuzz.containers import limit_memory  # noqa: E402
from tests.fuzz.fleets import check, mutate, seeds  # noqa: E402


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
