"""Of a file larger than anybody pastes, what stands near words of a crash: the last of it.

A log of a year is read once by searches for words; only what is near one goes through all formats.
"""

from __future__ import annotations

from collections.abc import Iterator

ENOUGH = 4 << 20
_BEFORE, _AFTER = 4 << 10, 8 << 10
_MOST = 4096  # places of one word
_WORDS = (
    "trap invalid",
    "invalid opcode",
    "segfault at",
    "general protection",
    "divide error",
    "kernel bug at",
    "warning: cpu",
    "sigill",
    "illegal",
    "unhandled exception",
    "c000001d",
    "exception code",
    "exc_bad_instruction",
    "instruction bytes",
    "invalid instruction",
    "unimplemented opcode",
    "dumped core",
    "status=4/",
    "code 132",
    "signal 4",
    "not available on the host",
    "cpu does not support",
    "isa level is lower",
    "cpu features",
    "sanitizer: ",
)


def telling_part(text: str) -> str:
    """The text itself, or of a large one what stands near words of a crash, the newest first kept.

    Args:
        text: with plain line ends.
    """
    if len(text) <= ENOUGH:
        return text
    spans: list[tuple[int, int]] = []
    size = 0
    for start, end in sorted(_spans(text), reverse=True):
        if spans and end >= spans[-1][0]:
            size += spans[-1][0] - min(start, spans[-1][0])
            spans[-1] = min(start, spans[-1][0]), spans[-1][1]
        elif size < ENOUGH:
            spans.append((start, end))
            size += end - start
        if size >= ENOUGH:
            break
    return "\n".join(text[start:end] for start, end in reversed(spans)) or text[-ENOUGH:]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Whole lines around each word, the last places of each."""
    low = text.lower()
    if len(low) != len(text):  # a letter whose small form is two
        low = text
    for word in _WORDS:
        at = len(low)
        for _ in range(_MOST):
            at = low.rfind(word, 0, at)
            if at < 0:
                break
            start = low.rfind("\n", 0, max(at - _BEFORE, 0)) + 1
            end = low.find("\n", min(at + _AFTER, len(low)))
            yield start, len(low) if end < 0 else end
