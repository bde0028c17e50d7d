"""Runs worlds and says what each showed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.lab import programs
from tests.lab.common import LabError, LabMissing, tool
from tests.lab.expect import Seen, differences
from tests.lab.machine import Program, boot
from tests.lab.packages import kernel
from tests.lab.user import run_user
from tests.lab.world import World


@dataclass(frozen=True)
class Result:
    """How a world went.

    Attributes:
        world: which one.
        seen: what it showed, None if it could not be run.
        wrong: what differs from the expectations, a line each; empty when all is well.
        missing: the tool or package for want of which it did not run.
        seconds: wall time, making what it needs included.
    """

    world: World
    seen: Seen | None
    wrong: list[str]
    missing: str | None
    seconds: float

    @property
    def good(self) -> bool:
        """It ran and showed what it should."""
        return not self.wrong and self.missing is None


def parse(status: str, stdout: bytes, stderr: bytes) -> dict[str, object]:
    """Return what a program said as one object: its JSON's keys, and `status` and `stderr`.

    Output that is no JSON object comes as `stdout`: the parsed value, or else the text.
    """
    text = stdout.decode(errors="replace")
    seen: dict[str, object] = {}
    try:
        value: object = json.loads(text)
    except ValueError:
        value = text
    if isinstance(value, dict):
        seen.update(value)
    else:
        seen["stdout"] = value
    return {**seen, "status": status, "stderr": stderr.decode(errors="replace")}


def show(world: World) -> dict[str, object]:
    """Run a world and return what it showed; `hung` is there where its guest was started again.

    Raises:
        LabError: it could not be run to its end.
        LabMissing: something it stands on is absent.
    """
    program = programs.get(world.program)
    if world.kind == "user":
        argv = [*program.user_argv, *world.args]
        files = {path: text.encode() for path, text in world.files.items()}
        run = run_user(
            world.cpu,
            argv,
            env=world.env,
            files=files,
            timeout=world.timeout,
            emulator=tool(*world.architecture.user),
        )
        return {**parse(run.status, run.stdout, run.stderr), **program.derive(run.stdout)}
    if not program.guest_argv:
        raise LabError(f"{world.name}: {world.program} is for user worlds only")
    guest = boot(
        kernel(world.series, world.architecture),
        Program(
            argv=[*program.guest_argv, *world.args],
            env={**program.env, **world.env},
            files=program.files,
            disk=program.disk,
            cpuset=world.cpuset,
            lost=world.lost,
            timeout=world.timeout,
        ),
        cpu=world.cpu,
        append=world.append,
        smp=world.smp,
        options=world.options,
        memory=program.memory,
        timeout=world.timeout + 60,
    )
    seen = {**parse(guest.status, guest.stdout, guest.stderr), **program.derive(guest.stdout)}
    return {**seen, "hung": guest.hung} if guest.hung else seen


def run(world: World) -> Result:
    """Run a world and judge it; trouble becomes part of the result."""
    started = time.monotonic()
    seen: dict[str, object] | None = None
    wrong: list[str] = []
    missing = None
    try:
        seen = show(world)
        wrong = differences(world.expect, seen)
    except LabMissing as error:
        missing = str(error)
    except LabError as error:
        wrong = [str(error)]
    return Result(world, seen, wrong, missing, time.monotonic() - started)


def run_all(
    worlds: Iterable[World], jobs: int, runner: Callable[[World], Result] = run
) -> Iterator[Result]:
    """Run worlds side by side; results come in the worlds' order."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(runner, worlds)
