"""Every world shows what it should."""

from __future__ import annotations

import pytest

from tests.lab.common import LabMissing
from tests.lab.runner import run
from tests.lab.worlds import WORLDS, World


@pytest.mark.lab
@pytest.mark.parametrize("world", [pytest.param(world, id=world.name) for world in WORLDS])
def test_world_shows_what_it_should(world: World) -> None:
    """A world's program says exactly what the world expects."""
    result = run(world)
    if result.missing is not None:
        raise LabMissing(result.missing)

    assert not result.wrong, "\n".join(result.wrong)


def test_world_names_are_unique() -> None:
    """`--only NAME` and the test ids mean one world."""
    names = [world.name for world in WORLDS]

    assert sorted(set(names)) == sorted(names)


def test_every_world_expects_something() -> None:
    """A world without expectations could not fail."""
    assert [world.name for world in WORLDS if not world.expect] == []
