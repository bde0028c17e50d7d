"""The verdict of the native core against the one of cpuprobe/assessment, word by word."""

from __future__ import annotations

import json

import msgspec

from cpuprobe.assessment import assess
from cpuprobe.evidence.observation import Document


def disagreements(document: bytes) -> list[str]:
    """What the `native` member of a document of cpuprobe-native says otherwise than Python.

    Args:
        document: what cpuprobe-native printed.

    Returns:
        One line for each difference: a feature's state, a level, a flag. None where the core of
        that instruction set leaves the verdict to Python.
    """
    read = json.loads(document)
    if "native" not in read and read["observation"].get("isa") == "aarch64":
        return []
    native = read["native"]
    observation = msgspec.json.decode(document, type=Document).observation
    judged = assess(observation, str(native["wasmtime"]))
    pairs: dict[str, tuple[object, object]] = {
        key: (native[key], getattr(judged, key))
        for key in ("basis", "verdict", "level", "level_at_least", "level_at_most")
    }
    states = {name: feature.state for name, feature in judged.features.items()}
    for name in states | native["states"]:
        pairs[name] = native["states"].get(name), states.get(name)
    for flag in judged.cranelift | native["cranelift"]:
        pairs[flag] = native["cranelift"].get(flag), judged.cranelift.get(flag)
    if list(native["cranelift"]) != list(judged.cranelift):
        pairs["order"] = list(native["cranelift"]), list(judged.cranelift)
    return [
        f"{name}: natively {here!r}, in Python {there!r}"
        for name, (here, there) in pairs.items()
        if here != there
    ]
