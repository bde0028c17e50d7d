"""Control flow decides what is decoded: constants and jump tables are not instructions."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuprobe.code.walk import FunctionCode, code_name, reachable_instructions

iced_x86 = pytest.importorskip("iced_x86")

# A constant that decodes as EVEX code: vpaddd zmm0, zmm0, zmm0.
LOOKS_LIKE_AVX512 = bytes.fromhex("62f17d48fec0")
ADDRESS = 0x1000


def names(code: str | bytes) -> list[str]:
    data = bytes.fromhex(code) if isinstance(code, str) else code
    return [
        code_name(instruction.code)
        for instruction in reachable_instructions(FunctionCode("f", ADDRESS, data))
    ]


def test_the_constant_would_decode_as_avx512() -> None:
    assert names(LOOKS_LIKE_AVX512) == ["EVEX_VPADDD_ZMM_K1Z_ZMM_ZMMM512B32"]


def test_bytes_behind_a_return_are_not_decoded() -> None:
    assert names(b"\xc3" + LOOKS_LIKE_AVX512) == ["RETNQ"]


def test_bytes_behind_a_trap_are_not_decoded() -> None:
    assert names(b"\x0f\x0b" + LOOKS_LIKE_AVX512) == ["UD2"]


def test_a_jump_skips_a_constant() -> None:
    assert names(b"\xeb\x06" + LOOKS_LIKE_AVX512 + b"\xc3") == ["JMP_REL8_64", "RETNQ"]


def test_both_sides_of_a_branch_are_decoded() -> None:
    """Behind jz +1 stand ret, and at its target vzeroupper, ret."""
    found = names("7401c3c5f877c3")
    assert found == ["JE_REL8_64", "RETNQ", "VEX_VZEROUPPER", "RETNQ"]


def test_a_call_returns() -> None:
    assert names("e800000000c3") == ["CALL_REL32_64", "RETNQ"]


def test_a_loop_ends() -> None:
    assert names("ebfe") == ["JMP_REL8_64"]


def test_targets_outside_the_function_are_left_alone() -> None:
    assert names("e900010000") == ["JMP_REL32_64"]


def test_undecodable_code_is_reported() -> None:
    assert names("06") == ["INVALID"]


def test_an_instruction_cut_off_is_reported() -> None:
    assert names("e80000") == ["INVALID"]


def test_nothing_has_no_instructions() -> None:
    assert names("") == []


def test_a_jump_table_is_followed_and_not_decoded() -> None:
    """The shape Cranelift emits: lea, movsxd, add, jmp, then offsets relative to the table."""
    head = bytes.fromhex(
        "488d0509000000"  # lea rax, [rip+9]: the table, at 16
        "486308"  # movsxd rcx, [rax]
        "4801c8"  # add rax, rcx
        "ffe0"  # jmp rax
        "90"  # padding
    )
    table = struct.pack("<2i", 8, 9)
    found = names(head + table + b"\xc3" + bytes.fromhex("c5f877c3") + LOOKS_LIKE_AVX512)

    assert found[-3:] == ["RETNQ", "VEX_VZEROUPPER", "RETNQ"]
    assert len(found) == 7


def test_a_jump_table_has_as_many_entries_as_its_index_is_compared_with() -> None:
    """And one for the default. What lies behind would be an entry too, by its value: 2."""
    head = bytes.fromhex(
        "be01000000"  # mov esi, 1
        "39f7"  # cmp edi, esi
        "0f42f7"  # cmovb esi, edi
        "488d0509000000"  # lea rax, [rip+9]: the table, at 26
        "48630cb0"  # movsxd rcx, [rax+rsi*4]
        "4801c8"  # add rax, rcx
        "ffe0"  # jmp rax
    )
    table = struct.pack("<2i", 13, 13)
    found = names(head + table + struct.pack("<i", 2) + b"\xcc\xc3")

    assert len(head) == 26
    assert found[7:] == ["RETNQ"]


@given(st.binary(max_size=64))
def test_any_bytes_end_and_stay_inside(data: bytes) -> None:
    function = FunctionCode("f", ADDRESS, data)
    for instruction in reachable_instructions(function):
        assert ADDRESS <= instruction.ip < ADDRESS + len(data)
