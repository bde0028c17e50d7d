"""Every link in README and docs leads somewhere, and the site has every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from tests.tools.site import BESIDE, page

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^]\n]*\]\(([^)\s]+)\)")


def without_code(text: str) -> str:
    """The page without what stands in fences and between backticks."""
    return re.sub(
        r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    )


def anchors(path: Path) -> set[str]:
    """The anchors GitHub gives the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+)$", path.read_text(), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 1
        name = words
        while name in found:
            name, number = f"{words}-{number}", number + 1
        found.add(name)
    return found | set(re.findall(r'(?:id|name)="([^"]+)"', path.read_text()))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    """Each relative link names a file of the tree, and its anchor a heading of that file."""
    for target in LINK.findall(without_code(path.read_text())):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path

        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_the_site_has_every_page_once():
    """Nothing is written that the navigation does not lead to."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]

    def names(node):
        if isinstance(node, str):
            return [node]
        children = node.values() if isinstance(node, dict) else node
        return [name for child in children for name in names(child)]

    assert sorted(names(nav)) == sorted(
        [path.name for path in (ROOT / "docs").glob("*.md")] + [*BESIDE]
    )


def test_a_link_out_of_the_site_becomes_its_words():
    """Links within docs/ stay, those to README lead to the start, others become text."""
    text = "[a](findings.md#cp101) [b](../README.md) [c](../probe/cpuprobe/api.py) [d](https://x.y)"

    assert page(text, ROOT / "docs") == "[a](findings.md#cp101) [b](index.md) c [d](https://x.y)"
