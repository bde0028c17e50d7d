"""Speaks with QEMU in its own protocol (docs/interop/qmp-spec.txt)."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.lab.architecture import X86_64
from tests.lab.common import LabError, tail, tool


class Qmp:
    """A connection to a QEMU."""

    def __init__(self, hears: IO[str], says: IO[str]) -> None:
        """Greet QEMU.

        Args:
            hears: what QEMU reads.
            says: what it writes.
        """
        self._hears, self._says = hears, says
        self._read()
        self.ask("qmp_capabilities")

    def _read(self) -> dict[str, Any]:
        line = self._says.readline()
        if not line:
            raise LabError("QEMU ended before it answered over QMP")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, command: str, **arguments: object) -> Any:
        """Return what QEMU answers; LabError with its words if it refuses."""
        try:
            self._hears.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self._hears.flush()
        except BrokenPipeError:
            raise LabError("QEMU ended before it could be asked over QMP") from None
        while True:
            answer = self._read()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise LabError(f"QMP {command}: {answer['error']['desc']}")


@contextmanager
def stopped(*options: str) -> Iterator[Qmp]:
    """Start a QEMU whose machine does not run, and end it afterwards."""
    command = [tool(*X86_64.system), "-accel", "tcg", "-S", "-qmp", "stdio"]
    with subprocess.Popen(
        [*command, "-nodefaults", "-display", "none", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            try:
                qmp = Qmp(child.stdin, child.stdout)
            except LabError as error:
                child.kill()
                raise LabError(f"{error}: {tail(child.stderr.read(), 2)}") from None
            yield qmp
        finally:
            child.kill()
            child.communicate()


@contextmanager
def over_socket(path: Path) -> Iterator[Qmp]:
    """Connect to a running QEMU that listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        with connection.makefile("w") as hears, connection.makefile("r") as says:
            yield Qmp(hears, says)
