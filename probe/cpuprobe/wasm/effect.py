"""What comes of a preset that is not down-closed: all operators of wasm compiled with it."""

from __future__ import annotations

import functools
import json
import os

import msgspec

from cpuprobe.code.elf import ArtifactError, read_sections
from cpuprobe.facts.features import load_features
from cpuprobe.facts.lint import problems
from cpuprobe.facts.presets import Preset, as_profile
from cpuprobe.scratch import temporary_folder
from cpuprobe.wasm.children import ChildError, run_script

_PATIENCE = 300.0


class Effect(msgspec.Struct, frozen=True):
    """What comes of an incoherent preset.

    Attributes:
        idle: flags without any effect: with them off the code is the same, byte for byte.
        used: features that the code does use though what they imply is off.
        off: what these imply and the preset leaves off.
        untried: why nothing was compiled.
    """

    idle: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    untried: str | None = None


def effect(preset: Preset) -> Effect:
    """Compiles with an incoherent preset, and once more without what seems to have no effect.

    The flags are set one by one with the target pinned, which is all that a preset does. Takes a
    few seconds.

    Raises:
        ChildError: wasmtime cannot be asked, or refuses: this host lacks a flag.
        CannotMeasureError: iced-x86 is missing.
    """
    from cpuprobe.wasm.code_proof import prove_code

    table = load_features()
    profile = as_profile(preset, "")
    found = problems(profile)
    artifact = _compiled(tuple(preset.flags.items()))
    try:
        features = set(prove_code(artifact, profile.features).features)
    except ArtifactError as error:
        raise ChildError(f"cannot read the artifact of {preset.name}: {error}") from None
    used = [each for each in found if each.feature in features]
    unused = {each.feature for each in found} - features
    reduced = {
        flag: on and (flag not in table.by_cranelift or table.by_cranelift[flag].name not in unused)
        for flag, on in preset.flags.items()
    }
    same = not unused or _code(artifact) == _code(_compiled(tuple(reduced.items())))
    off = {lacking for each in used for lacking in each.lacks}
    return Effect(
        tuple(flag for flag, on in preset.flags.items() if on != reduced[flag]) if same else (),
        tuple(each.feature for each in used),
        tuple(each for each in table if each in off),
    )


@functools.cache
def _compiled(flags: tuple[tuple[str, bool], ...]) -> bytes:
    with temporary_folder() as folder:
        path = os.path.join(folder, "operators.cwasm")
        request = {"do": "compile", "path": path, "flags": dict(flags), "operators": []}
        script = "from cpuprobe.wasm.verify_child import main; main(sys.argv[1])"
        for _ in run_script(script, [json.dumps(request)], patience=_PATIENCE):
            pass
        with open(path, "rb") as file:
            return file.read()


def _code(artifact: bytes) -> list[bytes]:
    return [bytes(each.data) for each in read_sections(artifact) if each.name == ".text"]
