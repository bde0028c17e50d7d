"""The functions of a file that hold a feature, or are on a page with what does."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Mapping

from cpuprobe.code.links import Links
from cpuprobe.code.native import ffi, lib


class Holding(Collection[int]):
    """The starts of functions on pages with one feature, small ones first.

    Of a build small ones hold it too, and kernels take many steps.
    """

    def __init__(self, links: Links, held: array[int], every: array[int], bit: int) -> None:
        """Lists them.

        Args:
            links: of the file.
            held: as Links.held has it.
            every: the numbers of all functions that hold a feature, small ones first.
            bit: the feature's in masks.
        """
        self._links, self._held = links, held
        self._word, self._bit = bit // 64, bit % 64
        masks, numbers = ffi.from_buffer("uint64_t[]", held), every[:]
        given, made = (ffi.from_buffer("uint32_t[]", each) for each in (every, numbers))
        self._numbers = numbers[: lib.links_holding(masks, given, len(every), bit, made)]

    def __contains__(self, start: object) -> bool:
        """Whether a function is one of them."""
        number = self._links.number(start) if isinstance(start, int) else None
        return number is not None and self._held[2 * number + self._word] >> self._bit & 1 == 1

    def __iter__(self) -> Iterator[int]:
        """Each of them."""
        return map(self._links.starts.__getitem__, self._numbers)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._numbers)


def holding(
    links: Links, pages: Mapping[int, frozenset[str]]
) -> tuple[list[tuple[str, Holding]], int]:
    """The functions on pages with each feature, those features first that most are on a page with.

    Args:
        links: of the file.
        pages: the features on each page of 4 KiB.

    Returns:
        Them, and how many bytes those have that are on a page with any.
    """
    names = sorted(frozenset[str]().union(*set(pages.values())))
    bits = {name: 1 << bit for bit, name in enumerate(names)}
    masks = {features: sum(map(bits.__getitem__, features)) for features in set(pages.values())}
    low = (1 << 64) - 1
    given = array("Q")
    for page in sorted(pages):
        mask = masks[pages[page]]
        given.extend((mask & low, mask >> 64))
    held, size = links.held(array("Q", sorted(pages)), given)
    numbers = array("I", bytes(8 * len(links.starts)))
    sizes, masks_of = (ffi.from_buffer("uint64_t[]", each) for each in (links.limits, held))
    count = lib.links_held(links.known, sizes, masks_of, ffi.from_buffer("uint32_t[]", numbers))
    every = numbers[:count]
    rows = [(name, Holding(links, held, every, bit)) for bit, name in enumerate(names)]
    return sorted(rows, key=lambda row: -len(row[1])), size
