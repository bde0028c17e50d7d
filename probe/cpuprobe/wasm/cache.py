"""Compiled code kept in a folder, by what it was made of and for.

wasmtime runs what it is given as compiled code without a further look, so a file counts only if
nobody but this user can have written it: file and folder are his and writable by nobody else. What
cannot be read, or what wasmtime does not take, is compiled anew.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress

from cpuprobe.errors import UsageError
from cpuprobe.files import open_regular
from cpuprobe.wasm.request import Request

LARGEST = 1 << 30
"""Bytes of an artifact that is kept or read."""


def prepare(folder: str) -> str:
    """Makes the folder if there is none, and returns its absolute path.

    Raises:
        UsageError: it cannot be made, or others than this user can write to it.
    """
    path = os.path.abspath(folder)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--cache {folder}: {error.strerror}") from None
    if not _ours(os.stat(path), stat.S_ISDIR):
        raise UsageError(f"--cache {folder}: others can write there; compiled code is not trusted")
    return path


def _ours(status: os.stat_result, kind: Callable[[int], bool]) -> bool:
    """Whether it is of a kind, this user's, and writable by nobody else."""
    return (
        kind(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def name_of(request: Request, version: str) -> str:
    """The name of the file for what a request compiles.

    Args:
        request: the module, target, flags and proposals count.
        version: of wasmtime.
    """
    settings = (sorted(request.flags.items()), sorted(request.wasm_features.items()))
    digest = hashlib.sha256(repr((version, request.target, settings)).encode())
    digest.update(request.module)
    return f"{digest.hexdigest()}.cwasm"


def load(folder: str, name: str) -> bytes | None:
    """The artifact; None if there is none that can be trusted."""
    try:
        if not _ours(os.stat(folder), stat.S_ISDIR):
            return None
        descriptor = open_regular(os.path.join(folder, name))
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not _ours(status, stat.S_ISREG) or status.st_size > LARGEST:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(LARGEST)
    finally:
        os.close(descriptor)


def keep(folder: str, name: str, artifact: bytes) -> None:
    """Keeps an artifact, whole or not at all; a full disk is no error of the run."""
    if len(artifact) > LARGEST:
        return
    path = os.path.join(folder, f".{secrets.token_hex(8)}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(path, flags, 0o600), "wb") as file:
            file.write(artifact)
        os.replace(path, os.path.join(folder, name))
    except OSError:
        with suppress(OSError):
            os.unlink(path)
