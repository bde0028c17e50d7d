"""Structure-aware fuzzing of the readers of archives and Parquet.

    python -m tests.fuzz.fuzz_fleets -max_total_time=600 [CORPUS FOLDER]

Needs atheris (`pip install atheris`); the arguments are libFuzzer's.
"""

from __future__ import annotations

import importlib

atheris = importlib.import_module("atheris")  # not a requirement of the test suite

with atheris.instrument_imports(include=["cpuprobe.fleet"]):
    import cpuprobe.fleet.archives  # noqa: F401

from tests.fuzz.containers import limit_memory  # noqa: E402
from tests.fuzz.engine import fuzz  # noqa: E402
from tests.fuzz.fleets import check, mutate, seeds  # noqa: E402

if __name__ == "__main__":
    limit_memory()
    fuzz(check, seeds, "-max_len=131072", "-timeout=60", mutate=mutate)
