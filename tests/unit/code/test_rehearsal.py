"""What functions that ask leave behind on models of CPUs: functions made of bytes."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence

import pytest

pytest.importorskip("iced_x86")

from cpuprobe.code import rehearsal, tiers
from cpuprobe.code.execution import Execution
from cpuprobe.code.lists import Pairs
from cpuprobe.code.machine import RAX, Code64, Lost
from cpuprobe.code.native import NATIVE
from cpuprobe.code.program import Binary, CodeBytes

CODE, SLOT, STATIC = 0x1000, 0x4000, 0x5000
LEAF_7 = "53 b807000000 31c9 0fa2"  # push rbx; mov eax, 7; xor ecx, ecx; cpuid
LEAF_1 = "53 b801000000 0fa2"
END = "5b c3"


def file_of(text: str) -> Binary:
    return Binary("x86-64", "executable", code=[CodeBytes(0, "", CODE, bytes.fromhex(text))])


# What is left in RAX; None: it is not known; Lost: nor how it goes on.
LEFT = {
    "b8ffffffff 83c001 c3": 0,  # mov eax, -1; add eax, 1
    "48c7c0ffffffff 4883c002 0f92c0 c3": 1,  # add rax, 2; setc al: of RAX is left 1
    "b805000000 83e806 0f9cc0 0fb6c0 c3": 1,  # sub eax, 6; setl al; movzx
    "b805000000 83e806 7d05 b807000000 c3": 7,  # jge over it
    "31c0 b405 0fb6c4 c3": Lost,  # what is written to AH is not followed
    "b800120000 0fb6c4 c3": 0x12,  # movzx eax, ah
    "b8f0ffffff c1f802 25ff000000 c3": 0xFC,  # sar eax, 2; and eax, 255
    "48b80000000000000080 31d2 480fa4c201 4889d0 c3": 1,  # shld rdx, rax, 1
    "b803000000 f7d8 c3": 0xFFFFFFFD,  # neg eax
    "b801000000 0fbae005 0f42c1 c3": 1,  # bt eax, 5; cmovc eax, ecx: which is not known
    "b820000000 0fbae005 0f42c1 c3": None,
    "89c8 c3": None,  # mov eax, ecx
    "31c8 c3": None,
    "89c8 31c0 c3": 0,  # xor eax, eax
    "85c9 7400 b801000000 c3": Lost,  # test ecx, ecx; je
    "b805000000 50 31c0 58 c3": 5,  # push rax; pop rax
    "b805000000 e801000000 c3 83c002 c3": 7,  # call of what stands behind it
    "8b05fa3f0000 c3": None,  # mov eax, [0x5000]
    "b805000000 8905f53f0000 8b05ef3f0000 c3": 5,  # [0x5000] is written before
    "488b05f92f0000 c3": STATIC,  # mov rax, [0x4000]: the loader has put it there
    "c60100 c3": Lost,  # mov byte [rcx], 0
    "b800000000 cd80 c3": Lost,  # int 0x80
    "ebfe": Lost,  # jmp to itself
    "ff25fa2f0000": Lost,  # jmp [0x4000]: no code is there
}


@pytest.mark.parametrize("text", LEFT)
def test_operations_do_what_the_manual_says(text):
    slots = Pairs(array("Q", [SLOT]), array("Q", [STATIC]))
    run = Execution(slots.get, {}, lambda *_: (None,) * 4, 3, {})

    if LEFT[text] is Lost:
        with pytest.raises(Lost):
            run.run(Code64(file_of(text)), CODE, 100)
    else:
        run.run(Code64(file_of(text)), CODE, 100)
        size = 1 if "0f92c0" in text else 4
        assert run.value(RAX, size) == LEFT[text]


@pytest.mark.parametrize(
    ("tier", "leaf", "register", "bit", "has"),
    [
        (tiers.V2, 1, 2, 20, True),  # SSE4.2
        (tiers.MORE, 1, 2, 28, False),  # AVX
        (tiers.AVX, 1, 2, 28, True),
        (tiers.MORE, 1, 2, 27, False),  # OSXSAVE
        (tiers.AVX, 7, 1, 5, True),  # AVX2
        (tiers.AVX, 7, 1, 16, False),  # AVX512F
        (tiers.TOP, 7, 1, 16, True),
    ],
)
def test_models_have_the_features_of_their_tier(tier, leaf, register, bit, has):
    for model in rehearsal.models()[tier]:
        assert bool(model.cpuid(leaf, 0)[register] >> bit & 1) is has
    assert rehearsal.models()[tier][0].xcr0 & 6 == (6 if tier >= tiers.AVX else 2)


def found_by(
    text: str, constants: bytes = b""
) -> tuple[rehearsal.Outcome, list[Sequence[Sequence[int]]]]:
    """What is told of a function; and each value, as all CPUs of each tier have it."""
    values = list[Sequence[Sequence[int]]]()

    def fact(rows: Sequence[Sequence[int]], size: int) -> tuple[int, int]:
        values.append(rows)
        return size, len(values)

    pointers = Pairs(array("Q"), array("Q"))
    file = file_of(text)
    file.constants = [(STATIC, constants)]
    return rehearsal.Rehearsals(file, pointers, (), fact).of(CODE), values


@pytest.mark.skipif(not NATIVE, reason="the package was built without its extension")
def test_a_word_of_the_programs_own_is_known_by_its_bits():
    """SSE4.2 as bit 3, AVX2 as bit 1: and 1 << 20; shr 17; mov to [0x5000]."""
    store = "8905"  # mov [0x5000], eax
    first = LEAF_1 + "81e100001000 c1e911 89ce"  # ecx & 1 << 20, >> 17, to esi
    second = "b807000000 31c9 0fa2 83e320 c1eb04 09de 89f0"  # ebx & 32, >> 4; or esi; to eax
    head = first + second + store
    at = CODE + len(bytes.fromhex(head)) + 4
    text = head + (STATIC - at).to_bytes(4, "little").hex() + END
    outcome, values = found_by(text)

    assert outcome.statics[STATIC] == (4, 1)
    assert values[0] == [[each, each] for each in (0, 8, 8, 10, 10)]


@pytest.mark.skipif(not NATIVE, reason="the package was built without its extension")
@pytest.mark.parametrize(
    ("text", "answers"),
    [
        (LEAF_7 + "31c0 f6c320 0f95c0" + END, (0, 0, 0, 1, 1)),  # setne al
        (LEAF_7 + "31c0 f6c320 0f94c0" + END, (1, 1, 1, 0, 0)),  # sete al
        (LEAF_1 + "31c0 f7c100001000 0f95c0" + END, (0, 1, 1, 1, 1)),
        (LEAF_1 + "b803000000" + END, None),  # it is 3, whatever the CPU
    ],
)
def test_an_answer_is_a_number_on_cpus_that_lack_a_tier(text, answers):
    outcome, values = found_by(text)

    assert values == ([] if answers is None else [[[each, each] for each in answers]])
    assert outcome.returned == ((0, 0) if answers is None else (8, 1))


@pytest.mark.skipif(not NATIVE, reason="the package was built without its extension")
def test_what_stands_in_a_table_of_constants_is_known():
    """test bl, 32; setne al; mov eax, [4 * rax + 0x5000]: of two numbers, or behind the end."""
    text = LEAF_7 + "31c0 f6c320 0f95c0 8b048500500000" + END
    table = struct.pack("<2I", 3, 9)

    assert found_by(text, table + bytes(16))[1] == [[[each] * 2 for each in (3, 3, 3, 9, 9)]]
    assert found_by(text, table[:4])[1] == []


def test_nothing_is_said_of_what_hangs_on_the_model():
    """CPUID.1:EAX differs from CPU to CPU: mov eax, [what it says]; and cmp of it."""
    pointers = Pairs(array("Q"), array("Q"))
    for text in (LEAF_1 + END, LEAF_1 + "3dc3060300 0f92c0" + END):
        made = rehearsal.Rehearsals(file_of(text), pointers, (), lambda rows, size: (0, 0))
        assert made.of(CODE) == ({}, None)


def test_steps_are_bounded():
    pointers = Pairs(array("Q"), array("Q"))
    made = rehearsal.Rehearsals(file_of("ebfe" * 64), pointers, (), lambda rows, size: (0, 0))
    for start in range(CODE, CODE + 128, 2):
        made.of(start)

    assert made.left >= -1


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        (
            LEAF_7 + "f6c320 7507 e800000000 0f0b 5b c3",
            tiers.AVX,
        ),  # test bl, 32; jne over a call; ud2
        (
            LEAF_7 + "f6c320 7407 e800000000 0f0b 5b c3",
            tiers.NONE,
        ),  # je: the others do not come back
        (LEAF_1 + "f7c100001000 7507 e800000000 0f0b 5b c3", tiers.V2),
        (LEAF_7 + "f6c320 7506 e800000000 90 5b c3", tiers.NONE),  # what is called may return
        (LEAF_7 + "5b c3", tiers.NONE),
    ],
)
def test_who_does_not_come_back_is_refused(text, tier):
    pointers = Pairs(array("Q"), array("Q"))
    made = rehearsal.Rehearsals(file_of(text), pointers, (), lambda rows, size: (0, 0))

    assert made.refuses(CODE) == tier


def test_memory_that_is_asked_for_is_there():
    """call [0x4000], which is malloc's; test rax, rax; je to itself; mov byte [rax], 5; movzx."""
    text = "ff15fa2f0000 4885c0 74fe c60005 0fb600 c3"
    names = {SLOT: "malloc"}
    run = Execution(lambda _: None, {}, lambda *_: (None,) * 4, 3, names)
    run.run(Code64(file_of(text)), CODE, 100)

    assert run.value(RAX, 4) == 5
    other = Execution(lambda _: None, {}, lambda *_: (None,) * 4, 3, {SLOT: "puts"})
    with pytest.raises(Lost):
        other.run(Code64(file_of(text)), CODE, 100)
