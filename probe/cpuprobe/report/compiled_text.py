"""What becomes of a WebAssembly module when wasmtime compiles it, as text: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cpuprobe.words import counted, plain, wrapped

_SETUPS = {
    "inferred": "with the flags that wasmtime infers on this machine",
    "safe": "with this machine's safe flags",
}


def lines(compiled: list[Mapping[str, Any]]) -> Iterator[str]:
    """What there is to say beside the code of the first, which is told as any other file's."""
    told = {each["setup"]: each for each in compiled}
    first = told["target"]
    yield from _sentence(f"its code needs {_needs(first['features'])}")
    on = first["flags"]
    least = told.get("least")
    if least is None:
        if on and len(compiled) > 1:
            yield from _sentence(f"of the {counted(len(on), 'flag')} on, each matters to it")
    elif least["error"] is not None:
        yield from _sentence(f"not compiled with fewer flags: {least['error']}")
    else:
        rest = counted(len(on) - len(least["flags"]), "other flag")
        used = " ".join(least["flags"]) or "none"
        same = (
            "the same code"
            if least["same"]
            else f"other code, which needs {_needs(least['features'])}"
        )
        yield from _sentence(f"flags that matter to it: {used}; without the {rest} it is {same}")
    for setup, words in _SETUPS.items():
        if setup in told:
            yield from _sentence(f"{words} {_outcome(told[setup])}")
    if len(compiled) == 1:
        yield from _sentence(
            "compiled with these flags alone: it is large, one of many or in an archive"
        )


def _outcome(each: Mapping[str, Any]) -> str:
    if each["error"] is not None:
        return f"it was not compiled: {each['error']}"
    needs = _needs(each["features"])
    if each["message"] is not None:
        return f"it would be refused there: {each['message']}; its code needs {needs}"
    word = "run" if each["expectation"] == "runs" else "die"
    return f"it would {word} there; its code needs {needs}"


def _needs(features: Mapping[str, int]) -> str:
    told = ", ".join(f"{name} ({counted(count, 'function')})" for name, count in features.items())
    return told or "nothing beyond x86-64-v1"


def _sentence(text: str) -> list[str]:
    return wrapped(plain(text), "  ", "  ")
