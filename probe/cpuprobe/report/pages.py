"""What every page is made with: templates that escape each value by themselves. Pure.

A value becomes one harmless line first, whatever the template does with it; only
`Markup`, a page's own words, stays as it is. Jinja is imported where a page is made.
"""

from __future__ import annotations

import functools
import html
from typing import TYPE_CHECKING, Any

from cpuprobe.version import VERSION
from cpuprobe.words import answer, on_cpus, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment


@functools.cache
def environment(escape: Callable[[str], str] | None = None) -> Environment:
    """The templates.

    Args:
        escape: makes a value harmless where the page is no HTML; None: as HTML wants it.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: object) -> object:
        if isinstance(value, Markup):
            return value
        text = " ".join(str(value).splitlines())
        return visible(text) if escape is None else escape(text)

    made = Environment(
        loader=PackageLoader("cpuprobe.report"),
        autoescape=escape is None,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals.update(version=VERSION, answer=answer, on_cpus=on_cpus)
    return made


def escape(text: object) -> str:
    """A value as text of an element or of a quoted attribute, where no template does it."""
    return html.escape(visible(" ".join(str(text).splitlines())), quote=True)


def render(template: str, escape: Callable[[str], str] | None = None, **values: Any) -> str:
    """A page.

    Args:
        template: its file's name.
        escape: see `environment`.
        values: what the template names.
    """
    return environment(escape).get_template(template).render(**values)
