"""Instructions newer than the decoder, by bytes of assemblers that know them."""

from __future__ import annotations

import pytest

from cpuprobe.code.instructions import instructions


@pytest.mark.parametrize(
    ("code", "mnemonic", "features"),
    [
        # llvm/test/MC/X86 of LLVM 20
        ("c4e25948f5", "tmmultf32ps", ("amx-tf32",)),
        ("62f3e50852d47b", "vminmaxpd", ("avx10.2",)),
        ("62e347d75272807b", "vminmaxbf16", ("avx10.2",)),
        # gas/testsuite/gas/i386 of GNU binutils 2.44
        ("62626e484af5", "tcvtrowd2ps", ("amx-avx512",)),
        ("62637e4807f57b", "tcvtrowd2ps", ("amx-avx512",)),
        ("6201ff082ff5", "vcomxsd", ("avx10.2",)),
        ("62017d08d6ee", "vmovd", ("avx10.2",)),
        ("62057e086ef5", "vmovw", ("avx10.2",)),
        # FP8 tiles as Capstone's tests have them
        ("c4e55bfdf5", "tdpbhf8ps", ("amx-fp8",)),
        ("c4e55afdf5", "tdphbf8ps", ("amx-fp8",)),
        ("c4e559fdf5", "tdphf8ps", ("amx-fp8",)),
        ("62f1ff182fca", "vcomxsd", ("avx10.2",)),  # Xbyak's, checked by XED
    ],
)
def test_it_is_named_with_what_it_needs(code: str, mnemonic: str, features: tuple[str, ...]):
    one = instructions(bytes.fromhex(code) + b"\x90" * 4)[0].decoded

    assert (one.intel, one.features, one.code.hex()) == (mnemonic, features, code)
