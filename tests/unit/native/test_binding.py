"""The definition of `cpuprobe._native`: what it takes of the scanner's headers."""

from __future__ import annotations

import runpy
from pathlib import Path

import cffi

ROOT = Path(__file__).parents[3]
HEADER = """
/* A page. /* Of
 * `struct old { int x; };` nothing is left. */
#ifndef A_H
#define A_H
#include "b.h"
#define SHIFTED(word)        \\
    ((word) << SHIFT | other \\
     & ~1)
enum { SHIFT = 1 << 2, MOST = SHIFT * 2 };
struct page { /* a comment */
    unsigned char held[MOST], last; /* and { another */
    int both[MOST][SHIFT + 1], other[3];
};
static inline unsigned
twice(const struct page *page)
{
    if (page->last) {
        return 2;
    }
    return 0;
}
int pages(const struct page *page, int count);
/* --- between the files of this --- */
int inner(void);
#endif
"""


def test_a_header_is_what_it_declares(monkeypatch):
    """Constants, structures and functions; no comment, no directive, no code."""
    monkeypatch.chdir(ROOT)  # its names are the checkout's
    made = runpy.run_path("native/binding.py")["declarations"](HEADER)

    assert " ".join(made.split()) == (
        "enum { SHIFT , MOST, ...}; struct page { unsigned char held[...], last; ...; };"
        " int pages(const struct page *page, int count);"
    )
    cffi.FFI().cdef(made)
