"""Runs worlds and says what each showed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from tests.lab import programs
from tests.lab.common import LabError, LabMissing, tool
from tests.lab.expect import Seen, differences
from tests.lab.machine import Guest, Program, boot
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
    if world.kind == "kernel":
        return show_kernel(world)[0]
    program = programs.get(world.program)
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


def show_kernel(world: World, then: World | None = None) -> list[dict[str, object]]:
    """Run one or two worlds of one machine in one guest.

    Raises:
        LabError: it could not be run to its end.
        LabMissing: something it stands on is absent.
    """
    guest = boot(
        kernel(world.series, world.architecture),
        _program(world, then),
        cpu=world.cpu,
        append=world.append,
        smp=world.smp,
        options=world.options,
        memory=programs.get(world.program).memory,
        timeout=world.timeout + (then.timeout if then else 0) + 60,
    )
    shown = [_seen(world, guest)]
    return shown if then is None or guest.then is None else [*shown, _seen(then, guest.then)]


def _program(world: World, then: World | None = None) -> Program:
    program = programs.get(world.program)
    if not program.guest_argv:
        raise LabError(f"{world.name}: {world.program} is for user worlds only")
    return Program(
        argv=[*program.guest_argv, *world.args],
        env={**program.env, **world.env},
        files=program.files,
        disk=program.disk,
        cpuset=world.cpuset,
        lost=world.lost,
        timeout=world.timeout,
        then=_program(then) if then else None,
    )


def _seen(world: World, guest: Guest) -> dict[str, object]:
    derived = programs.get(world.program).derive(guest.stdout)
    seen = {**parse(guest.status, guest.stdout, guest.stderr), **derived}
    return {**seen, "hung": guest.hung} if guest.hung else seen


def run(world: World, then: World | None = None) -> list[Result]:
    """Run a world, or two that one guest can show one after the other, and judge them.

    Trouble becomes part of the results.
    """
    worlds = [world] if then is None else [world, then]
    started = time.monotonic()
    try:
        seen = [show(world)] if then is None else show_kernel(world, then)
    except LabMissing as error:
        return [Result(each, None, [], str(error), time.monotonic() - started) for each in worlds]
    except LabError as error:
        return [
            Result(each, None, [str(error)], None, time.monotonic() - started) for each in worlds
        ]
    seconds = time.monotonic() - started
    return [
        Result(world, one, differences(world.expect, one), None, seconds)
        for world, one in zip(worlds, seen, strict=True)
    ]


# Static programs that leave nothing behind: where both are asked of a machine, one guest runs both.
TOGETHER = {"probe": "native", "oracle": "arm-native"}


def together(worlds: Iterable[World]) -> list[tuple[World, ...]]:
    """The worlds by guests, in their order; two in one where that shows both."""
    firsts = {each.machine: each for each in worlds if each.program in TOGETHER}
    seconds = {each.machine: each for each in worlds if each.program in TOGETHER.values()}
    groups: list[tuple[World, ...]] = []
    for world in worlds:
        first, second = firsts.get(world.machine), seconds.get(world.machine)
        if world.kind == "user" or world not in (first, second) or not (first and second):
            groups.append((world,))
        elif world is first:
            groups.append((first, second))
    return groups


def begin(worlds: Iterable[World], pool: ThreadPoolExecutor) -> dict[str, Callable[[], Result]]:
    """Start worlds side by side; a world's name to what waits for its result."""

    def waiting(future: Future[list[Result]], place: int) -> Callable[[], Result]:
        return lambda: future.result()[place]

    found: dict[str, Callable[[], Result]] = {}
    for group in together(worlds):
        future = pool.submit(run, *group)
        found |= {world.name: waiting(future, place) for place, world in enumerate(group)}
    return found


def run_all(worlds: Sequence[World], jobs: int) -> Iterator[Result]:
    """Run worlds side by side; results come in the worlds' order."""
    with ThreadPoolExecutor(jobs) as pool:
        running = begin(worlds, pool)
        yield from (running[world.name]() for world in worlds)
