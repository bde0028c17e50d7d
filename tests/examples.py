"""How much is tried: of a property's examples, of moments, of versions."""

import os

from hypothesis import settings

ALL = os.environ.get("CPUPROBE_TESTS") == "all"
"""Whether somebody has the time for all of it; else a share is taken that shows the same kinds."""


def examples(number: int, **more: object) -> settings:
    """Settings for as many examples, or for `make quick` fewer in the proportion of its profile."""
    share = settings().max_examples / settings.get_profile("cpuprobe").max_examples
    return settings(max_examples=max(1, round(number * share)), deadline=None, **more)  # type: ignore[arg-type]
