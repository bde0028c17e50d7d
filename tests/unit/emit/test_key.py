"""`cpuprobe key`: keys order machines by what compiled code may use."""

from __future__ import annotations

import pytest
from tests.fakes import V1, V2, V3, V4, gds_machine, group, observation

from cpuprobe.assessment import assess
from cpuprobe.cli import run
from cpuprobe.emit import FlagSet, choose
from cpuprobe.emit.key import beyond, cache_key, digest
from cpuprobe.errors import UsageError


def flags_of(*features: str) -> FlagSet:
    return choose([assess(observation(group(features, xcr0=0xE7), listed=features), "50")])


def test_key_names_the_level_and_what_lies_beyond():
    """Written out; hints say nothing about compiled code."""
    assert cache_key(flags_of(*V3)) == "x86-64-v3"
    assert cache_key(flags_of(*V3, "aes", "sha", "prfchw")) == "x86-64-v3+aes+sha"
    assert cache_key(choose([assess(gds_machine(), "50")])).startswith("x86-64-v2")
    assert "avx" not in cache_key(choose([assess(gds_machine(), "50")]))


MACHINES = [V1, V2, (*V2, "aes"), V3, (*V3, "aes"), (*V3, "aes", "sha"), V4]


@pytest.mark.parametrize("old", MACHINES, ids=len)
@pytest.mark.parametrize("new", MACHINES, ids=len)
def test_a_cache_fits_where_its_features_are_a_subset(old, new):
    """For every pair: it fits exactly where the newer machine has all that the older had."""
    assert set(beyond(cache_key(flags_of(*old)), flags_of(*new))) == set(old) - set(new)


def test_an_unknown_feature_of_a_later_release_does_not_fit():
    """A name that this release does not know is not known to be safe."""
    assert beyond("x86-64-v2+quux9", flags_of(*V4)) == ("quux9",)


@pytest.mark.parametrize(
    "text",
    ["", "x86-64-v9", "avx2", "x86-64-v3+", "x86-64-v3+\x1b[31m", "x86-64-v3 avx", "ab12" * 4,
     "x86-64-v3" + "+a" * 3000],
)  # fmt: skip
def test_what_is_no_key_is_refused(text):
    """Garbage, a digest and an endless text are errors of the input, in one line."""
    with pytest.raises(UsageError):
        beyond(text, flags_of(*V4))


def test_no_key_from_too_little():
    """Where not even the baseline is known to be safe there is no key."""
    with pytest.raises(UsageError, match="x86-64-v1"):
        cache_key(flags_of("x87"))


def test_command(capsys, tmp_path):
    """Exit codes: 0 told or fits, 1 does not fit, 2 no key; the digest is of the key."""
    capture = tmp_path / "cpuinfo"
    capture.write_text(
        "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: x\nflags\t\t: fpu de tsc msr "
        "cx8 cmov mmx fxsr sse sse2 syscall nx lm pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm aes\n"
    )
    on = ["key", "--on", str(capture)]

    assert run(on) == 0
    key = capsys.readouterr().out.strip()
    assert key == "x86-64-v2+aes"
    assert run([*on, "--hash"]) == 0
    assert capsys.readouterr().out.strip() == digest(key)
    assert run([*on, "--fits", key]) == 0
    assert capsys.readouterr().out == "fits\n"
    assert run([*on, "--fits", "x86-64-v3"]) == 1
    assert "avx2" in capsys.readouterr().out
    assert run([*on, "--fits", "nonsense"]) == 2
