"""What of a kernel command line may enter an observation, read from a paste or by the core."""

import pytest
from tests.tools import native_facts, native_words

from cpuprobe.evidence.machines.formats.kernel_words import (
    known_options,
    known_version,
    known_word,
)


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("tsx=alice", None),
        ("tsx=on,alice", "tsx=on"),
        ("tsx", "tsx"),
        ("tsx=", None),
        ("clearcpuid=alice,avx2,514,rtm,", "clearcpuid=avx2,514,rtm"),
        ("clearcpuid=4915112345678", None),
        ("maxcpus=four", None),
        ("noxsave=alice", None),
        ("nosmt=force=alice", None),
        ("password=avx2", None),
        ("", None),
    ],
)
def test_value_of_a_word(word: str, kept: str | None) -> None:
    """Only a known word is kept, and of its value only what the kernel itself knows."""
    assert known_word(word) == kept


def test_pasted_command_line() -> None:
    """A pasted command line loses a value that somebody made up."""
    line = "BOOT_IMAGE=/vmlinuz root=/dev/sda tsx=alice clearcpuid=avx2,bob quiet"

    assert known_options(line) == ("clearcpuid=avx2",)


@pytest.mark.parametrize(
    ("version", "kept"),
    [
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-01-02)",) * 2,
        ("#49~22.04.1-Ubuntu SMP PREEMPT_DYNAMIC Wed Jul 10 17:44:05 UTC 2",) * 2,
        ("#7-alice SMP alice@build-12 Debian", "SMP Debian"),
        ("#4915112345678 SMP build.example.org", "SMP"),
        ("alice", None),
    ],
)
def test_version(version: str, kept: str | None) -> None:
    """Of `uname -v` no word is kept that could be a builder's name or host."""
    assert known_version(version) == kept


def test_header_is_current() -> None:
    """native/words.h is what `make gen` makes of the tables and types."""
    assert native_words.HEADER.read_text(encoding="ascii") == native_words.header()


def test_facts_are_current() -> None:
    """The tables and sentences of the core are what `make gen` makes of profiles/."""
    assert native_facts.HEADER.read_text(encoding="ascii") == native_facts.header()
    assert native_facts.SENTENCES.read_text(encoding="ascii") == native_facts.sentences()
