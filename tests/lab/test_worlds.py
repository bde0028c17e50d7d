"""Every world shows what it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.common import LabMissing
from tests.lab.runner import TOGETHER, Result, begin, together
from tests.lab.world import World
from tests.lab.worlds import WORLDS

_AT_A_TIME = 2

Running = Mapping[str, Callable[[], Result]]


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """The chosen worlds on their way, in the order of the tests that wait for them."""
    pool = ThreadPoolExecutor(_AT_A_TIME)
    names = {
        item.callspec.id
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path
        if hasattr(item, "callspec")
    }
    yield begin([world for world in WORLDS if world.name in names], pool)
    pool.shutdown(cancel_futures=True)


@pytest.mark.lab
@pytest.mark.parametrize("world", [pytest.param(world, id=world.name) for world in WORLDS])
def test_world_shows_what_it_should(world: World, running: Running) -> None:
    """A world's program says exactly what the world expects."""
    result = running[world.name]()
    if result.missing is not None:
        raise LabMissing(result.missing)

    assert not result.wrong, "\n".join(result.wrong)


def test_no_world_is_left_out() -> None:
    """Grouped by guests, each is there once; and there are some that share one."""
    groups = together(WORLDS)

    assert sorted(world.name for group in groups for world in group) == sorted(
        world.name for world in WORLDS
    )
    shared = {tuple(world.program for world in group) for group in groups if len(group) > 1}
    assert shared == set(TOGETHER.items())
    assert all(len({world.machine for world in group}) == 1 for group in groups)


def test_world_names_are_unique() -> None:
    """`--only NAME` and the test ids mean one world."""
    names = [world.name for world in WORLDS]

    assert sorted(set(names)) == sorted(names)


def test_every_world_expects_something() -> None:
    """A world without expectations could not fail."""
    assert [world.name for world in WORLDS if not world.expect] == []


def test_every_guest_is_proved_without_cpuprobe() -> None:
    """A machine that cpuprobe is asked about is one that the lab's own witness knows too."""

    def machine(world: World) -> tuple[object, ...]:
        # Where CPUs differ, glibc's programs live on some only.
        cpuset = None if world.lost else world.cpuset
        return (
            *(world.architecture, world.cpu, world.append, world.series, world.smp, cpuset),
            *(world.options, world.lost),
        )

    proved = {machine(world) for world in WORLDS if world.program in TOGETHER}
    unproved = [
        world.name for world in WORLDS if world.kind == "kernel" and machine(world) not in proved
    ]

    assert unproved == []
