"""`make docs`: lays out what the site is built from, build/site-source.

The pages are those of docs/; CONTRIBUTING.md and CHANGELOG.md stand beside them, and a link that
leaves docs/ for anything else becomes its text, since the site has no source tree.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "build/site-source"
BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md")

_LINK = re.compile(r"(?<!!)\[([^]\n]+)\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def page(text: str, folder: Path) -> str:
    """A page of the site, from a page in `folder` of the tree."""

    def rewritten(link: re.Match[str]) -> str:
        words, target = link[1], link[2]
        name, _, anchor = target.partition("#")
        path = (folder / name).resolve().relative_to(ROOT)
        if path.parts[0] == "docs" and (ROOT / path).is_file():
            inside = path.relative_to("docs").as_posix()
        elif path.as_posix() in BESIDE:
            inside = path.as_posix()
        elif path.as_posix() == "README.md":
            inside = "index.md"
        else:
            return words
        return f"[{words}]({inside}{'#' + anchor if anchor else ''})"

    return _LINK.sub(rewritten, text)


def main() -> None:
    """Writes build/site-source anew."""
    shutil.rmtree(TARGET, ignore_errors=True)
    shutil.copytree(ROOT / "docs", TARGET)
    for path in (*(ROOT / "docs").glob("*.md"), *(ROOT / name for name in BESIDE)):
        (TARGET / path.name).write_text(page(path.read_text(), path.parent))


if __name__ == "__main__":
    main()
