"""The outcome of `cpuprobe verify`, as text of at most 100 columns and as a document: pure.

It works on the plain data of the JSON document, so that a saved document can be shown as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from cpuprobe.report.installed import inference_lines, introspection_lines
from cpuprobe.wasm.installed import Inference, Introspection
from cpuprobe.words import counted, plain, wrapped

SCHEMA = "cpuprobe.verify/1"

_VERDICTS = {
    "proved": "PROVED",
    "outside": "OUTSIDE",
    "different": "DIFFERENT",
    "died": "DIED",
    "refused": "REFUSED",
    "unfinished": "UNFINISHED",
}


def document(
    verification: Mapping[str, Any],
    verdict: str,
    inference: Mapping[str, Any] | None,
    seconds: float,
    introspection: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The JSON document.

    Args:
        verification: the outcome.
        verdict: its verdict.
        inference: what wasmtime infers by itself; None where another machine's flags were proved,
            or where it did not say.
        seconds: how long it took.
        introspection: what the installed wasmtime is and has; None where it was not asked.
    """
    return {
        "schema": SCHEMA,
        "verdict": verdict,
        **verification,
        "inference": inference,
        "introspection": introspection,
        "seconds": seconds,
    }


def to_text(report: Mapping[str, Any]) -> str:
    """The same for people."""
    return "".join(f"{line}\n" for line in _lines(report))


def module_text(proof: Mapping[str, Any]) -> str:
    """The proof over one module, for people."""
    on = sorted(flag for flag, value in proof["flags"].items() if value)
    lines = [
        *wrapped(
            f"{_VERDICTS[proof['verdict']]}  {plain(proof['module'])} compiled by wasmtime"
            f" {proof['wasmtime']} with the flags of {plain(proof['target'])}",
            rest="  ",
        ),
        *_wrapped(f"on: {' '.join(on) or 'none'}"),
        *_code(proof["code"]),
    ]
    return "".join(f"{line}\n" for line in lines)


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    return wrapped(plain(text), indent, "  " + indent)


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    on = sorted(flag for flag, value in report["flags"].items() if value)
    yield from wrapped(
        f"{_VERDICTS[report['verdict']]}  wasmtime {report['wasmtime']} with the flags"
        f" ({len(on)} on, {len(report['flags']) - len(on)} off)",
        rest="  ",
    )
    yield from _wrapped(f"on: {' '.join(on) or 'none'}")
    if report["functions"]:
        yield from _wrapped(
            f"compiled: {counted(report['operators'], 'operator')} in"
            f" {counted(report['functions'], 'function')}"
        )
    if report["left_out"]:
        names = ", ".join(name.replace("_", " ") for name in report["left_out"])
        yield from _wrapped(f"left out, this wasmtime does not have it: {names}")
    if report["code"] is not None:
        yield from _code(report["code"])
    if report["comparison"] is not None:
        yield from _comparison(report["comparison"], report["atomic"])
    if report["not_compared"] is not None:
        yield from _wrapped(f"not run: {report['not_compared']}")
    if report["death"] is not None:
        yield from _death(report["death"])
    if report["introspection"] is not None:
        for line in introspection_lines(msgspec.convert(report["introspection"], Introspection)):
            yield from _wrapped(line)
    if report["inference"] is not None:
        for line in inference_lines(msgspec.convert(report["inference"], Inference)):
            yield from _wrapped(line)
    yield f"  took {report['seconds']} s"


def _code(code: Mapping[str, Any]) -> Iterator[str]:
    outside = code["outside"]
    verdict = (
        f"{counted(len(outside), 'form')} outside the safe set"
        if outside
        else "all inside the safe set"
    )
    yield from _wrapped(
        f"disassembled: {counted(code['forms'], 'instruction form')} in"
        f" {counted(code['instructions'], 'instruction')} of"
        f" {counted(code['functions'], 'function')}, {verdict}"
    )
    yield from _wrapped(f"they need: {' '.join(code['features']) or 'x86-64-v1 only'}")
    for each in outside:
        needs = " ".join(each["features"]) or "not an instruction"
        yield from _wrapped(
            f"{each['instruction']} needs {needs}: {each['count']:,} times,"
            f" first at {each['address']:#x} in {each['function']}",
            "    ",
        )


def _comparison(comparison: Mapping[str, Any], atomic: int) -> Iterator[str]:
    count = comparison["functions_different"]
    yield from _wrapped(
        f"run: {counted(comparison['cases'], 'case')} of {counted(comparison['ran'], 'function')},"
        f" natively and by Pulley: "
        + (f"{counted(count, 'function')} differ" if count else "all equal")
    )
    yield from _wrapped(
        f"left open by the specification: NaN bits in {comparison['open_nans']:,} cases, relaxed"
        f" SIMD's choices in {comparison['open_relaxed']:,}"
    )
    if atomic:
        yield from _wrapped(
            f"compiled and not run: {counted(atomic, 'atomic function')}, Pulley has no atomics"
        )
    for each in comparison["different"]:
        yield from _wrapped(f"{each['function']} of {each['operands'] or 'nothing'}", "    ")
        yield from _wrapped(f"native {each['native']}", "      ")
        yield from _wrapped(f"Pulley {each['pulley']}", "      ")
    if count > len(comparison["different"]):
        yield f"    and {counted(count - len(comparison['different']), 'function')} more"


def _death(death: Mapping[str, Any]) -> Iterator[str]:
    if death["stage"] == "flags":
        yield from _wrapped(f"wasmtime refuses the flags: {death['how']}")
        return
    while_ = {"compile": "compiling", "run": "preparing to run"}[death["stage"]]
    if death["function"] is not None:
        while_ = f"running {death['function']}"
    yield from _wrapped(f"ended while {while_}: {death['how']}")
    if death["features"]:
        yield from _wrapped(f"its code needs: {' '.join(death['features'])}")
