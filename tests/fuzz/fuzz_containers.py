"""Structure-aware fuzzing of the readers of ELF, PE and Mach-O files, archives and crashes.

    python -m tests.fuzz.fuzz_containers -max_total_time=600 [CORPUS FOLDER]

Needs atheris (`pip install atheris`); the arguments are libFuzzer's. What takes more than 5 s
of CPU time or 1 GB is a crash, and written to the current folder.
"""

from __future__ import annotations

import importlib

atheris = importlib.import_module("atheris")  # not a requirement of the test suite

with atheris.instrument_imports(include=["cpuprobe.code", "cpuprobe.evidence.crashes"]):
    import cpuprobe.check.contents
    import cpuprobe.code.read
    import cpuprobe.evidence.crashes.core_file
    import cpuprobe.evidence.crashes.minidump  # noqa: F401

from tests.fuzz.containers import check, limit_memory, mutate, seeds  # noqa: E402
from tests.fuzz.engine import fuzz  # noqa: E402

if __name__ == "__main__":
    limit_memory()
    fuzz(check, seeds, "-max_len=131072", "-timeout=60", mutate=mutate)
