"""From pasted bytes to clean lines: every wrapper taken off, and nothing of the data with it."""

from __future__ import annotations

import codecs
import html
import json
import textwrap

import pytest

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.text.decode import decoded
from cpuprobe.evidence.text.lines import MAXIMUM_LINE, MAXIMUM_LINES, clean, lines_of
from cpuprobe.evidence.text.markup import (
    opened_dicts,
    opened_strings,
    without_colour,
    without_markdown,
    without_soft_breaks,
    without_tags,
)
from cpuprobe.evidence.text.prefixes import without_prefixes, without_quotes

BLOCK = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme <avx> sse4_1\n\nend : 1"


def each_line(prefix: str) -> str:
    return "\n".join(f"{prefix}{line}" for line in BLOCK.split("\n"))


# --- encodings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [BLOCK, "Architektur größer\uff1a x86_64\n" + BLOCK])
@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: ("ASCII before it " * 9 + text).encode("utf-16-le"),
        lambda text: ("ASCII before it " * 9 + text).encode("utf-16-be"),
    ],
)
def test_encodings(text, encode):
    """UTF-8 and UTF-16, with a mark and without."""
    assert decoded(encode(text)).endswith(text)


def test_latin1():
    """Bytes that are no UTF-8 are each one character."""
    assert decoded(b"Pr\xe4zision\nflags : fpu") == "Präzision\nflags : fpu"


@pytest.mark.parametrize("start", [b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"PK\x03\x04"])
def test_compressed(start):
    """Compressed data is named."""
    with pytest.raises(CaptureError, match="compressed"):
        decoded(start + bytes(50))


def test_characters():
    """No-break blanks and wide colons are plain ones; what cannot be seen is gone."""
    assert clean("\u200bFlags\uff1a\u00a0fpu\u3000vm\u00ade \u2028pse") == "Flags: fpu vme \npse"


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n", "\0"])
def test_line_ends(end):
    """Line ends of every system."""
    assert lines_of(clean(decoded(BLOCK.replace("\n", end).encode()))) == BLOCK.split("\n")


# --- markup ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("escape", ["\x1b", "^[", "\\e", "\\x1b", "\\033", ""])
def test_colour_of_grep(escape):
    """`grep --color`, also as `cat -v` shows it and with the escape characters lost."""
    text = f"sse {escape}[01;31m{escape}[Kavx{escape}[m{escape}[K f16c"

    assert without_colour(text) == "sse avx f16c"


def test_other_terminal_sequences():
    """Titles, cursor movement, overstruck bold."""
    assert without_colour("\x1b]0;title\x07a\x1b[2Kb\x1b[?25lc x\bxy\by") == "abc xy"
    assert without_colour("list[0] = [1;2]") == "list[0] = [1;2]"


def test_html():
    """Tags go, cells stay apart, rows are lines; what is no tag of HTML stays."""
    page = (
        "<table><tr><td>Flags:</td><td>fpu <b>vme</b></td></tr></table>F=0x1<FPU,VME><br>x<main+4>"
    )

    assert without_tags(page) == "Flags: \tfpu vme \t\nF=0x1<FPU,VME>\nx<main+4>"


def test_html_in_a_narrow_window():
    """Where only `<br>` ends a line, the other line ends are the window's."""
    text = "\n".join(f"{number} the words of a line, and more of them" for number in range(9))
    page = text.replace("\n", "<br>")
    hard = "\n".join(page[at : at + 70] for at in range(0, len(page), 70))
    cell = "| a | b |\n| --- | --- |\n| one<br>two<br>three<br>four | the other cell of it |\n"

    assert without_tags(hard) == text
    assert without_tags("\n".join(textwrap.wrap(page, 70))) == text
    assert without_tags(page.replace("<br>", "<br>\n")) == text.replace("\n", "\n\n")
    assert without_tags(cell) == cell.replace("<br>", "\n")


def test_entities_without_tags():
    """Copied from the source of a page."""
    assert clean("Features=0x1&lt;FPU&#44;VME&gt;&nbsp;&amp;lt;") == "Features=0x1<FPU,VME> &lt;"


def test_strings_with_lines_in_them():
    """A text inside a JSON string, whole or cut out of it."""
    inside = json.dumps({"n": 1, "log": BLOCK, "path": "C:\\new\\note"})
    cut_out = json.dumps(BLOCK)[1:-1]

    assert BLOCK in opened_strings(inside)
    assert "C:\\\\new" in opened_strings(inside)
    assert opened_strings(cut_out) == BLOCK
    assert opened_strings(r"C:\new\notes\nothing\n") == r"C:\new\notes\nothing\n"


def test_a_list_of_lines():
    """Ansible's `stdout_lines`: what holds a field loses its marks, other strings keep them."""
    lines = ['  "Flags:   fpu sse",', '  "Model name: \\"X\\"",', '  "key": "value",', '  "fpu",']
    assert opened_strings("\n".join(lines)).split("\n") == ["Flags:   fpu sse", *lines[1:]]


def test_quoted_printable():
    """A mail's soft line breaks; a line that ends in = elsewhere is left alone."""
    assert without_soft_breaks("a=3Db sse4=\n_1\nc") == "a=b sse4_1\nc"
    assert without_soft_breaks("x =\ny") == "x =\ny"


def test_markdown():
    """Tables, marks of lists, bold and code go; a star between blanks is data."""
    text = (
        "| Field | Value |\n|---|:--|\n| Flags: | fpu **avx** |\nModel: x |\n- **CPU:** `a`\n"
        "AVX  *  Supports AVX\nnode`main+4\nsse4\\_1\n"
    )

    assert without_markdown(text) == (
        "Field:  Value\n\nFlags:  fpu avx\nModel: x \nCPU: a\n"
        "AVX  *  Supports AVX\nnode`main+4\nsse4_1\n"
    )


def test_italics_and_fences():
    """A phrase in underscores loses them, a name keeps them; what a fence line says stays."""
    assert without_markdown("_Illegal instruction_ in _start and _Z3foov") == (
        "Illegal instruction in _start and _Z3foov"
    )
    assert without_markdown("```text\n``` ERROR: it died here```\n```").strip() == (
        "ERROR: it died here"
    )


def test_columns_of_a_table():
    """Two lists of flags in a row are two machines'."""
    assert without_markdown("| Flags | fpu vme | fpu de |\n") == "Flags: fpu vme\nFlags: fpu de\n"


def test_a_dictionary_of_python():
    """A flat one with a list becomes fields; others stay."""
    assert opened_dicts("{'brand_raw': 'X Y', 'count': 4, 'flags': ['aes', 'fpu']}") == (
        "brand_raw: X Y\ncount: 4\nflags: aes fpu"
    )
    for text in ("'found': {'a': ['b']}", "{'SSE42': True, 'AVX2': False}"):
        assert opened_dicts(text) == text


# --- prefixes -------------------------------------------------------------------------------------

PREFIXES = [
    "2024-03-21T10:11:12.1234567Z ",
    "build\tRun lscpu\t2024-03-21T10:11:12.1234567Z ",
    "[2024-02-27 16:20:34] ",
    "[Mon Nov 25 12:00:00 2024] ",
    "[    0.000000] ",
    "<6>[    0.000000] ",
    "[    0.000000][    T0] ",
    "[  +0.000005] ",
    "Nov 25 12:00:00 host script[12]: ",
    "Nov 25 12:00:00 host kernel: [    0.000000] ",
    "2024-03-21T10:11:12.123456+01:00 host kernel: ",
    "2024-02-27 16:20:34,123 INFO: ",
    "2024-02-27 16:20:34 - INFO - ",
    "12:00:01.123 ",
    "web_1  | ",
    "my-app-1 | ",
    "12:",
    "/proc/cpuinfo:",
    "/proc/cpuinfo:12:",
    "cpuinfo.txt:12:",
    "     7\t",
    "     16 ",
    "node17: ",
    "[pod/web-1/app] ",
    "[INFO] ",
    "[   67s] ",
    "##[debug]",
    "#7 0.123 ",
    "(XEN) ",
    "# ",
    "// ",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_a_block(prefix):
    """What stands before every line of a block goes, and the lines are as they were."""
    assert without_prefixes(each_line(prefix)).rstrip() == BLOCK


@pytest.mark.parametrize(
    "prefix", [each for each in PREFIXES if each[:2] not in ("no", "# ", "//", "[p", "[I")]
)
def test_prefixes_of_one_line(prefix):
    """All but names of hosts and pods and comment marks show on a single line."""
    assert without_prefixes(f"{prefix}flags\t\t: fpu vme") == "flags\t\t: fpu vme"


@pytest.mark.parametrize(
    "text",
    [
        "   0x00000001 0x00: eax=0x00000612",
        "cpu0: Intel(R)\ncpu0: a : b\ncpu0: c : d",
        "   0:\t48 89 e5\tmov %rsp,%rbp\n   3:\tc3\tret",
        "7f00 | c5f9 | vmovd\n7f04 | 90 | nop",
        "Model: 12\n13\n14",
        "[main] a : b\n[init] c : d\n[exit] e : f",
        "Vulnerability Mds:  Not affected\nVulnerability L1tf:  Not affected\nVulnerability A:  x",
    ],
)
def test_what_only_looks_like_a_prefix(text):
    """Data that begins alike stays."""
    assert clean(text) == text


def test_quotes():
    """Quote marks of any depth go, indentation behind them stays."""
    assert without_quotes("> > a\n>>   b\n>c\nd > e\n=> f") == "a\n  b\nc\nd > e\n=> f"


def test_both_sides_of_a_diff():
    """The marks of a plain diff go, and the sides stay apart."""
    assert without_quotes("1c1\n< a\n---\n> b") == "1c1\na\nthe other side:\nb"
    assert without_quotes("< a\n---\n> b") == "< a\n---\nb"


# --- all of it ------------------------------------------------------------------------------------


def test_wrappers_in_wrappers():
    """A stamped log, coloured, in a fence, quoted in a mail, as HTML, inside a JSON string."""
    text = "\n".join(f"> {line}" for line in f"```\n{each_line('web_1  | ')}\n```".split("\n"))
    page = f"<p>See</p><pre>{html.escape(text)}</pre>"
    data = json.dumps({"body": page}).encode("utf-16")

    assert clean(decoded(data)).count(BLOCK) == 1


def test_bounds():
    """Overlong lines are left out; too many lines are refused; a large file is only split."""
    assert lines_of("a\n" + "x" * (MAXIMUM_LINE + 1) + "\nb") == ["a", "b"]
    with pytest.raises(CaptureError, match="lines"):
        lines_of("\n" * MAXIMUM_LINES)
    large = lines_of("a\n" + "x" * (MAXIMUM_LINE + 1) + "\nbc" * (3 << 19))
    assert (len(large), large[0], large[1:3], large[-1]) == (1 + (3 << 19), "a", ["bc", "bc"], "bc")
    assert clean("> **a**\r\n" * 1_000_000) == "> **a**\n" * 1_000_000
