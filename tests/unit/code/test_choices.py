"""Which side of a branch on CPUID's bits is guarded, and against what: functions made of bytes."""

from __future__ import annotations

import os
import struct
from array import array

import pytest

pytest.importorskip("iced_x86")

from cpuprobe.code import libgcc, tiers
from cpuprobe.code.links import Links
from cpuprobe.code.lists import Pairs
from cpuprobe.code.native import NATIVE, lib
from cpuprobe.code.program import Binary, CodeBytes
from cpuprobe.code.summary import Summary
from cpuprobe.code.ways import Ways, working_memory
from cpuprobe.facts.features import load_levels

pytestmark = pytest.mark.skipif(not NATIVE, reason="the package was built without its extension")

LEAF_7 = "53 b8 07000000 31c9 0fa2"  # push rbx; mov eax, 7; xor ecx, ecx; cpuid
LEAF_1 = "53 b8 01000000 0fa2"
LEAF_0 = "53 31c0 0fa2"
ANY = "53 89f8 0fa2"  # the leaf is an argument
LEVEL = LEAF_1 + "31ff f7c100001000 400f95c7" + LEAF_7[3:] + "f6c320 ba02000000 0f45fa"
BITS = LEAF_1 + "31ff c1e912 83e104 89cf" + LEAF_7[3:] + "c1eb02 83e308 09fb 89d9"
# vpaddd ymm0, ymm0, ymm0; then, where the two sides meet, pop rbx and ret. Both without the length
# of the instructions that jump over them, which the rows have.
AVX2, END = "c5fdfec0", "5b c3"
SIDES = {  # what is tested, and whether AVX2 on the side that a branch goes on in is guarded
    "avx2": (LEAF_7 + "f6c320 74 04", True),  # test bl, 0x20; je
    "avx2, by number": (LEAF_7 + "0fbae305 73 04", True),  # bt ebx, 5; jnc
    "avx2, shifted": (LEAF_7 + "c1eb05 83e301 74 04", True),  # shr ebx, 5; and ebx, 1; je
    "avx2, both": (LEAF_7 + "81e328000000 83fb28 75 04", True),  # and ebx, 0x28; cmp ebx, 0x28; jne
    "avx2, none lacking": (LEAF_7 + "f7d3 f6c328 75 04", True),  # not ebx; test bl, 0x28; jne
    "avx2, to a number": (LEAF_7 + "f6c320 0f95c0 84c0 74 04", True),  # setne al; test al, al; je
    "avx2, turned round": (LEAF_7 + "f6c320 0f94c0 84c0 75 04", True),  # sete al; test al, al; jne
    # setne al; movzx eax, al; then neg eax; sbb eax, eax or lea eax, [rax + 2 * rax]; test eax, eax
    "avx2, by its carry": (LEAF_7 + "f6c320 0f95c0 0fb6c0 f7d8 19c0 85c0 74 04", True),
    "avx2, by its carry, inverted": (LEAF_7 + "f6c320 0f95c0 0fb6c0 f7d8 19c0 85c0 75 04", False),
    "avx2, three times": (LEAF_7 + "f6c320 0f95c0 0fb6c0 8d0440 85c0 74 04", True),
    "avx2, three times, inverted": (LEAF_7 + "f6c320 0f95c0 0fb6c0 8d0440 85c0 75 04", False),
    "avx2, inverted": (LEAF_7 + "f6c320 75 04", False),
    "avx2, a number, inverted": (LEAF_7 + "f6c320 0f95c0 84c0 75 04", False),
    "avx512f": (LEAF_7 + "f7c300000100 74 04", True),  # test ebx, 1 << 16
    "fma, in an upper byte": (LEAF_1 + "f6c510 74 04", True),  # test ch, 0x10; je
    "sse4.2": (LEAF_1 + "f7c100001000 74 04", False),  # test ecx, 1 << 20; je
    "aes": (LEAF_1 + "f7c100000002 74 04", False),
    "sse2": (LEAF_1 + "f7c200000004 74 04", False),  # test edx, 1 << 26
    "vendor": (LEAF_0 + "81fb47656e75 75 04", False),  # cmp ebx, "Genu"; jne
    "family": (LEAF_1 + "3dc3060300 72 04", True),  # cmp eax, 0x306c3; jb
    # xor edi, edi; test ecx, 1 << 20; setne dil; then CPUID of leaf 7; test bl, 0x20;
    # mov edx, 2; cmovne edi, edx: what a program makes of both is 0, 1, or 2 where there is AVX2
    "its level": (LEVEL + "83ff02 7c 04", True),  # cmp edi, 2; jl
    "its level, to one": (LEVEL + "83ff01 7c 04", False),
    "its level, as any": (LEVEL + "85ff 74 04", False),  # test edi, edi; je
    # likewise 4 and 8, of which the second is of AVX2
    "its own bits": (BITS + "f6c108 74 04", True),  # test cl, 8; je
    "its own bits, the other": (BITS + "f6c104 74 04", False),
    "its own bits, both": (BITS + "83e10c 83f90c 75 04", True),  # and ecx, 0xc; cmp ecx, 0xc; jne
    "who knows": (ANY + "f6c320 75 04", True),
}


CALLED = 0x2000


def look(text: str, slots: dict[int, int] | None = None, called: str = "") -> Summary:
    """What becomes of a function, as hexadecimal bytes.

    Args:
        text: what stands at 0x1000.
        slots: what static memory holds.
        called: another function, at CALLED, of which it is learnt first what it answers.
    """
    code = [CodeBytes(0, ".text", 0x1000, bytes.fromhex(text))]
    if called:
        code.append(CodeBytes(1, ".other", CALLED, bytes.fromhex(called)))
    file = Binary("x86-64", "library", code=code)
    links = Links(file)
    slots = slots or {}
    links.pointers = Pairs(array("Q", slots), array("Q", slots.values()))
    ways = Ways(file, links)
    ways.left = 1000
    ways.end_learning(misses=False)
    for other in code[1:]:
        answer = ways.look(other.address, other.address + len(other.data), lambda _: (0, 0))
        assert answer.answers == 1 << 11  # TELLS_AVX
        ways.answers(CALLED, answer.answers, answer.returned)
    return ways.look(0x1000, 0x1000 + len(code[0].data), lambda _: (0, 0))


@pytest.mark.parametrize("name", SIDES)
def test_a_branch_guards_the_side_of_its_own_bit(name):
    text, guarded = SIDES[name]
    needs = look(text + AVX2 + END).needs

    assert ("avx2" not in needs) is guarded


def test_what_a_function_returns_is_known_by_its_bits():
    """It is a number on CPUs without the feature, which its caller tests."""
    plain = LEAF_7 + "31c0 f6c320 0f95c0 5b c3"  # setne al
    turned = LEAF_7 + "31c0 f6c320 0f94c0 5b c3"  # sete al

    for called, branch, guarded in (
        (plain, "74", True),
        (plain, "75", False),
        (turned, "75", True),
        (turned, "74", False),
    ):
        call = "e8" + struct.pack("<i", CALLED - 0x1006).hex()
        needs = look(f"53 {call} 85c0 {branch} 04 {AVX2} {END}", called=called).needs
        assert ("avx2" not in needs) is guarded, branch


def test_what_a_slot_holds_is_called_and_what_an_answer_picks_is_not():
    """Of two addresses of functions, one of which CMOV takes, and of one in static memory."""
    pick = "488d05f00f0000 488d15f91f0000 480f45c2 5b ffd0"  # lea rax; lea rdx; cmovne; pop; call
    by_avx2 = look(LEAF_7 + "f6c320" + pick + "c3")
    by_sse4 = look(LEAF_1 + "f7c100001000" + pick + "c3")
    slot = look("ff15f20f0000 c3", slots={0x1FF8: 0x5000})  # call [0x1ff8]
    other = look("ff15f20f0000 c3")

    assert {row.way for row in by_avx2.escapes if row.tiers >> tiers.AVX & 1} == {"called"}
    assert len([row for row in by_avx2.escapes if row.tiers >> tiers.AVX & 1]) == 1
    assert len([row for row in by_sse4.escapes if row.tiers >> tiers.AVX & 1]) == 2
    assert [call.target for call in slot.calls] == [0x5000]
    assert other.calls == []


def store(address: int, at: int) -> str:
    """MOV of 1 to static memory, by an instruction that stands at an address."""
    return "c705" + struct.pack("<iI", address - at - 10, 1).hex()


def test_libgccs_answers_are_found_without_their_name():
    """By what __cpu_indicator_init does; not where one of its signs is missing."""
    begin = "8b3d" + struct.pack("<i", 0x5000 - 0x1006).hex()  # mov edi, [0x5000]
    named = "81fb47656e75"  # cmp ebx, "Genu"
    stores = [store(to, 0x100C + 10 * at) for at, to in enumerate((0x5000, 0x5004, 0x5008))]
    whole = begin + named + "".join(stores)

    assert libgcc.model(bytes.fromhex(whole), 0x1000) == 0x5000
    for less in (begin, named, stores[1]):
        assert (
            libgcc.model(bytes.fromhex(whole.replace(less, "90" * (len(less) // 2))), 0x1000)
            is None
        )


def test_working_memory_is_a_process_s_own():
    """Workers are forked from a process that may have some that is free."""
    space = working_memory("struct ways_space[]", [])
    before = space[0].operations
    child = os.fork()
    if not child:
        space[0].operations = before + 1
        os._exit(0)
    os.waitpid(child, 0)

    assert space[0].operations == before


def test_tiers_are_those_of_the_levels():
    levels = [{tiers.tier(name) for name in level.features} for level in load_levels()]

    assert levels == [{0}, {0, tiers.V2}, {0, tiers.V2, tiers.AVX}, {0, 1, tiers.AVX, tiers.TOP}]
    assert tiers.tier("aes") == tiers.MORE
    assert tiers.tier("vaes") == tiers.AVX
    bits, _ = tiers.tables()
    word = {at: bits[32 * lib.CPU_MODEL + at] for at in (4, 8, 10, 15, 18)}
    given = {4: tiers.NONE, 8: tiers.V2, 10: tiers.AVX}
    assert word == {15: tiers.TOP, 18: tiers.MORE} | {
        at: of | lib.GIVEN for at, of in given.items()
    }
