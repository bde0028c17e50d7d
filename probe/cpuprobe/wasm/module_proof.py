"""The proof over a module of the user's own: compiled with the safe flags, nothing beyond them.

`check` of a module says which machines its code suits; this looks at every instruction that control
flow reaches and asks of each whether the set of features allows it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from cpuprobe.code.elf import ArtifactError
from cpuprobe.errors import CannotMeasureError, CaptureError
from cpuprobe.wasm.children import ChildError
from cpuprobe.wasm.compile_child import INVALID
from cpuprobe.wasm.compiled import compile_file, words_of
from cpuprobe.wasm.verification import CodeProof

SECONDS = 600
"""Of CPU time that compiling may take: it is the user's own module."""


class ModuleProof(msgspec.Struct, frozen=True):
    """The outcome.

    Attributes:
        module: the file, as it was given.
        wasmtime: the installed version.
        target: whose flags: a profile, a capture, or this machine.
        flags: every flag, and whether it was on.
        code: what disassembly says.
    """

    module: str
    wasmtime: str
    target: str
    flags: dict[str, bool]
    code: CodeProof

    @property
    def verdict(self) -> str:
        """`proved`, or `outside` where an instruction needs a feature beyond the set."""
        return "outside" if self.code.outside else "proved"


def prove_module(
    path: str, version: str, target: str, flags: Mapping[str, bool], safe: Collection[str]
) -> ModuleProof:
    """Compiles a module or component and looks at all of its code.

    Args:
        path: a module or component, or the text of one.
        version: of the installed wasmtime.
        target: see `ModuleProof`.
        flags: every flag of that wasmtime.
        safe: the features that they stand for, with all that those imply.

    Raises:
        CaptureError: it is no valid module.
        CannotMeasureError: it cannot be compiled here, or not read.
    """
    from cpuprobe.wasm.code_proof import prove_code

    try:
        artifact, _ = compile_file(path, flags, SECONDS)
        code = prove_code(artifact, safe)
    except ChildError as error:
        kind = CaptureError if error.code == INVALID else CannotMeasureError
        raise kind(f"{path}: {words_of(error)}") from None
    except ArtifactError as error:
        raise CannotMeasureError(f"{path}: {error}") from None
    return ModuleProof(path, version, target, dict(flags), code)
