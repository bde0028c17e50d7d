"""Runs atheris by the arguments of the command line, which are libFuzzer's."""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

Mutator = Callable[[bytes, random.Random, int], bytes]


def fuzz(
    check: Callable[[bytes], object],
    seeds: Callable[[], Mapping[str, bytes]],
    *options: str,
    mutate: Mutator | None = None,
) -> None:
    """Fuzzes until the arguments say stop; a crash is written to the current folder.

    Args:
        check: gets each input; only a broken promise raises.
        seeds: what to start from, where the arguments name no folder of inputs.
        options: libFuzzer's, behind those of the command line.
        mutate: makes another input of one; None for libFuzzer's own way.
    """
    atheris = importlib.import_module("atheris")  # not a requirement of the test suite
    more = {}
    if mutate is not None:
        more["custom_mutator"] = lambda content, most, seed: mutate(
            content, random.Random(seed), most
        )
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*sys.argv, *options]
        if not any(not argument.startswith("-") for argument in sys.argv[1:]):
            for name, content in seeds().items():
                (Path(folder) / name).write_bytes(content)
            arguments.append(folder)
        atheris.Setup(arguments, check, **more)
        atheris.Fuzz()
