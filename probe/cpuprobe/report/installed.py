"""What the installed wasmtime says of itself, and how it fits the model of it, in words."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.wasm.installed import Inference, Introspection


def introspection_lines(asked: Introspection) -> Iterator[str]:
    """What it is and has, a clause each; one alone if nothing answered, all for one reason."""
    name = "wasmtime" if asked.version is None else f"wasmtime {asked.version}"
    if not (asked.inferred or asked.pulley or asked.winch) and len({*asked.reasons.values()}) < 2:
        yield f"{name} gave no answer: {asked.reasons.get('inferred', 'it was not asked')}"
        return
    if asked.inferred is None:
        yield f"{name} did not say which flags it infers: {asked.reasons.get('inferred', '')}"
    else:
        on = [flag for flag, value in asked.inferred.items() if value]
        yield (
            f"{name} knows {len(asked.inferred)} x86 flags and infers {len(on)} of them here: "
            f"{' '.join(on) or 'none'}"
        )
    yield f"Pulley, its interpreter: {_there(asked.pulley, asked.reasons.get('pulley'))}"
    yield f"Winch, its baseline compiler: {_there(asked.winch, asked.reasons.get('winch'))}"


def _there(answer: bool | None, reason: str | None) -> str:
    word = "not known" if answer is None else "works" if answer else "not available"
    return word if answer or not reason else f"{word} ({reason})"


def inference_lines(found: Inference) -> Iterator[str]:
    """Whether its choice is safe here, and whether the model of that choice is right."""
    if found.unsafe:
        yield f"left to itself wasmtime would turn on (CP501): {' '.join(found.unsafe)}"
    else:
        yield "left to itself wasmtime would turn on nothing that is unsafe here"
    if found.differ:
        words = ("off", "on")
        each = " ".join(f"{flag} ({words[found.inferred[flag]]})" for flag in found.differ)
        yield (
            "cpuprobe's model of that choice is wrong about these, here with wasmtime's answer: "
            f"{each} (please report it)"
        )
    else:
        yield "cpuprobe's model of that choice (CP501, CP504) says the same of every flag"
