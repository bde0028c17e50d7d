"""Images of containers: OCI layouts and what `docker save` writes, as the files that a run sees.

Layers lie on each other; a file in one hides that of the same path in those below it, and a
whiteout hides one without putting another in its place. Layout: OCI Image Format Specification,
"Image Layout" and "Image Layer Filesystem Changeset"; Docker Image Specification v1.2.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cpuprobe.code.elf import ArtifactError

LAYER = re.compile(
    r"blobs/[a-z0-9]{1,20}/[0-9a-f]{32,128}|(sha256:)?[0-9a-f]{64}(/layer)?\.tar(\.gz)?"
)
"""The paths of layers, and in an OCI layout of what describes them."""
DESCRIBES = frozenset({"manifest.json", "index.json"})
MOST_SAID = 4 << 20
"""Bytes of one of these, as registries have it (OCI Distribution Specification, "Pushing
Manifests"); an index of a hundred images has 50,000."""
MOST_IN_ALL = 8 * MOST_SAID
MOST_NAMES = 64 << 20
"""Characters of paths in all layers together."""
MOST_FOLDERS = 1 << 20
_MOST_IMAGES = 100
_MOST_LAYERS = 1000
_DEEPEST = 3
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"

_Tree = dict[str, Any]
"""Folders: what is in them by name. Files: the number of the layer."""


class Image(NamedTuple):
    """One image.

    Attributes:
        name: its tag or platform; empty if it is the only one.
        layers: paths of its layers, the lowest first.
    """

    name: str
    layers: tuple[str, ...]


class _Document(NamedTuple):
    """What one file says, without all else that it says.

    Attributes:
        saved: of what `docker save` wrote, each image.
        layers: of a manifest, their paths.
        manifests: of an index, the path of each, and its platform.
    """

    saved: tuple[Image, ...] = ()
    layers: tuple[str, ...] = ()
    manifests: tuple[tuple[str, str], ...] = ()


def describes(path: str, content: bytes) -> bool:
    """Whether a text at a path may describe an image: of blobs those that speak of layers."""
    words = b'"layers"' in content or b'"manifests"' in content
    return path in DESCRIBES or (len(content) <= MOST_SAID and words)


def images(said: Mapping[str, bytes]) -> list[Image]:
    """The images that some files describe, each once.

    Args:
        said: the content of manifest.json, index.json and what lies beside the layers, by path.
    """
    document = functools.cache(lambda path: _document(said.get(path, b"")))
    found: dict[tuple[str, ...], str] = {}
    for each in document("manifest.json").saved:
        found.setdefault(each.layers, each.name)
    for path, platform in _manifests(document, {}, "index.json", 0).items():
        found.setdefault(document(path).layers, platform)
    listed = [Image(name, layers) for layers, name in found.items() if layers]
    several = listed[:_MOST_IMAGES]
    if len(several) < 2:
        return [Image("", each.layers) for each in several]
    return [each._replace(name=each.name or str(at)) for at, each in enumerate(several)]


def visible(layers: Sequence[Sequence[str]]) -> list[set[str]]:
    """Of each layer the files that are seen through those above it.

    Args:
        layers: the paths in each, the lowest first, those of folders with a slash at their ends;
            those of files in files are not asked for.

    Raises:
        ArtifactError: they are more than any image has.
    """
    if sum(len(path) for layer in layers for path in layer) > MOST_NAMES:
        raise ArtifactError("an image with more paths than any")
    root: _Tree = {}
    left = MOST_FOLDERS
    for number, layer in enumerate(layers):
        for path in layer:
            folder, _, name = path.rpartition("/")
            if name == _OPAQUE:
                _hide(root, folder)
            elif name.startswith(_WHITEOUT):
                _hide(root, f"{folder}/{name.removeprefix(_WHITEOUT)}")
        for path in layer:
            if not path.rpartition("/")[2].startswith(_WHITEOUT):
                left -= _put(root, path, number)
                if left < 0:
                    raise ArtifactError("an image with more folders than any")
    seen: list[set[str]] = [set() for _ in layers]
    pending: list[tuple[str, _Tree]] = [("", root)]
    while pending:
        folder, tree = pending.pop()
        for name, inside in tree.items():
            if isinstance(inside, dict):
                pending.append((f"{folder}{name}/", inside))
            else:
                seen[inside].add(folder + name)
    return seen


def _hide(root: _Tree, path: str) -> None:
    tree: Any = root
    *folders, last = [*filter(None, path.split("/"))] or [""]
    if not last:
        root.clear()
    for name in folders:
        tree = tree.get(name)
        if not isinstance(tree, dict):
            return
    tree.pop(last, None)


def _put(root: _Tree, path: str, number: int) -> int:
    """Puts a file, or a folder, into its folder; how many folders that made."""
    made = 0
    tree = root
    *folders, last = path.split("/")
    for name in filter(None, folders):
        inside = tree.get(name)
        if not isinstance(inside, dict):
            inside = tree[name] = {}
            made += 1
        tree = inside
    if last:
        tree[last] = number
    return made


def _manifests(
    document: Callable[[str], _Document], found: dict[str, str], index: str, depth: int
) -> dict[str, str]:
    """The paths of manifests of an index, those of indexes in it included, each with its platform.

    Args:
        document: reads one.
        found: what was found before, to which these are added.
        index: the path of the index.
        depth: in how many others it lies.
    """
    for path, platform in document(index).manifests if depth < _DEEPEST else ():
        if path not in found:
            found[path] = platform
            _manifests(document, found, path, depth + 1)
    return found


def _document(content: bytes) -> _Document:
    value = _json(content) if len(content) <= MOST_SAID else None
    if isinstance(value, list):
        return _Document(
            tuple(
                Image("".join(_texts(row.get("RepoTags"))[:1]), _texts(row.get("Layers")))
                for row in _rows(value)
            )
        )
    if not isinstance(value, dict):
        return _Document()
    rows = _rows(value.get("manifests"))[:_MOST_IMAGES]
    layers = tuple(map(_blob, _rows(value.get("layers"))))
    return _Document((), layers, tuple((_blob(row), _platform(row)) for row in rows))


def _platform(descriptor: dict[str, Any]) -> str:
    said = descriptor.get("platform")
    words = said if isinstance(said, dict) else {}
    return "/".join(_texts([words.get(key) for key in ("os", "architecture", "variant")]))


def _blob(descriptor: dict[str, Any]) -> str:
    return "blobs/" + str(descriptor.get("digest")).replace(":", "/")


def _rows(value: Any) -> list[dict[str, Any]]:
    rows = value[:_MOST_LAYERS] if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, dict)]


def _texts(value: Any) -> tuple[str, ...]:
    rows = value[:_MOST_LAYERS] if isinstance(value, list) else []
    return tuple(row for row in rows if isinstance(row, str))


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
