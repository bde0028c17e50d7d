"""How many examples a property is tried on."""

from hypothesis import settings


def examples(number: int, **more: object) -> settings:
    """Settings for as many examples, or for `make quick` fewer in the proportion of its profile."""
    share = settings().max_examples / settings.get_profile("cpuprobe").max_examples
    return settings(max_examples=max(1, round(number * share)), deadline=None, **more)  # type: ignore[arg-type]
