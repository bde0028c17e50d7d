"""What programs and pages put around and into a text: colours, HTML, Markdown, JSON strings.

Pure functions from text to text, each of one thing; a text without that thing comes back as it is.
All expressions are linear in the length of the text.
"""

from __future__ import annotations

import html
import json
import re

# CSI and OSC sequences (ECMA-48, 5.4 and 8.3.89), the escape character also as `cat -v`, shells and
# JSON write it; and the two that `grep --color` prints, where a web page dropped the escape.
_COLOUR = re.compile(
    r"(?:\x1b|\^\[|\u241b|\\(?:e|033|x1[bB]|u001[bB]))\[[0-9;?]{0,32}[@-~]"
    r"|\x1b\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)|\x1b[()][0-9A-B]|\x1b[=>78]"
    r"|\[(?:\d{1,2}(?:;\d{1,3}){1,4})?m\[K|\[(?:\d{1,2};\d{1,3}(?:;\d{1,3}){0,3}|0)m"
)
_OVERSTRUCK = re.compile(r".\x08")

_HTML = re.compile(r"</(?:code|pre|p|div|details|td|span|html|li|font|b)\s?>|<br\s?/?>", re.I)
_BREAK = re.compile(r"<br\s?/?>", re.I)
_LEAST_BREAKS = 3
_WIDEST_WINDOW = 250
_CELL_END = re.compile(r"</t[dh]\s?>", re.I)
_LINE_END = re.compile(r"<(?:br|/(?:p|div|tr|li|pre|summary|h\d|dt|dd))\b[^<>]{0,500}>", re.I)
# HTML's own elements only: `<FPU,VME>` of a BSD and `<main+4>` of a debugger are data.
_TAG = re.compile(
    r"</?(?:a|abbr|article|b|blockquote|body|br|button|code|dd|del|details|div|dl|dt|em|font|footer"
    r"|h[1-6]|head|header|hr|html|i|img|kbd|li|link|meta|nav|ol|p|path|pre|s|samp|script|section"
    r"|small|span|strong|style|sub|summary|sup|svg|table|tbody|td|tfoot|th|thead|title|tr|tt|u|ul"
    r"|var|wbr)(?=[\s/>])[^<>]{0,4000}>|<!(?:--|doctype)[^<>]{0,4000}>",
    re.I,
)
_ENTITY = re.compile(r"&(?:#\d{1,6}|#[xX][0-9a-fA-F]{1,5}|[A-Za-z][A-Za-z0-9]{1,30});")

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)(?:"|\\?$)')
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "'": "'", "\\": "\\", "/": "/", "r": ""}
_ESCAPE = re.compile(r"\\(?:u00([0-7][0-9a-fA-F])|x([0-7][0-9a-fA-F])|(.))")
_DRIVE = re.compile(r"\b[A-Za-z]:\\")
_MANY_ESCAPED_LINES = 3
_IN_A_STRING = ("\\n", '{\\"')
_LISTED_FIELD = re.compile(r'(?m)^[ \t]{1,40}"([A-Za-z][^":\n]{0,60}:[ \t][^"\n]*)",?[ \t]*$')

_KEY = re.compile(r"[{,] ?'([A-Za-z][\w ]{0,40})': (?=(\[[^\[\]]*\]|[^\[{,][^,]*))")
_LIST_IN_DICT = "': ['"
_UNQUOTED = re.compile(r"['\"\[\]},]")

# With a language or a name; what stands behind it otherwise is text.
_FENCE = re.compile(r"(?m)^[ \t]*(?:```|~~~)[`~]*[ \t]*\S{0,40}(?:[ \t]\S{1,40})?[ \t]*$")
_TABLE_RULE = re.compile(
    r"(?m)^[ \t]*\|[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?[ \t]*$"
)
_TABLE_ROW = re.compile(r"(?m)^[ \t]{0,99}\|(.*[^\s|])[ \t]{0,99}\|?[ \t]{0,99}$")
_TRAILING_BAR = re.compile(r"(?m)(?<=[ \t])\|[ \t]{0,99}$")
_BOLD = re.compile(r"(\*\*|__)(?=[^\s*_])([^*\n]{1,80}?)(?<=\S)\1(?![\w*])")
# A phrase; a single word may be a name.
_ITALIC = re.compile(r"(?<!\w)_(?=[A-Za-z(])([^_\n]{1,200} [^_\n]{0,200}?)(?<=\S)_(?!\w)")
_LIST_MARK = re.compile(r"(?m)^([ \t]*)(?:[-*+\u2022]|\d{1,2}[.)])[ \t]+(?=[A-Za-z_*`\"])")
# WinDbg and lldb have it inside an address and between module and symbol.
_CODE_MARK = re.compile(r"(?<!\w)`|`(?!\w)")
_ESCAPED = re.compile(r"(?<=[A-Za-z0-9])\\_(?=[A-Za-z0-9])|\\\*")

_SOFT_BREAK = re.compile(r"=\n")
_QUOTED_BYTE = re.compile(r"=(3D|20|09|C2=A0)")


def without_colour(text: str) -> str:
    """Without terminal sequences and overstruck characters."""
    if "[" in text:
        text = _COLOUR.sub("", text)
    return _OVERSTRUCK.sub("", text) if "\b" in text else text


def without_tags(text: str) -> str:
    """An HTML page, or Markdown with HTML in it, as text: cells apart, rows on lines."""
    if "<" not in text or _HTML.search(text) is None:
        return text
    return _TAG.sub("", _LINE_END.sub("\n", _CELL_END.sub(" \t", _without_window(text))))


def _without_window(text: str) -> str:
    """Text whose lines end in `<br>` without the line ends of a window that was too narrow.

    Those stand where the window ended: nearly all lines are about as long, few end in `<br>`.
    """
    lines = text.strip("\n").split("\n")
    if len(_BREAK.findall(text)) < _LEAST_BREAKS or len(lines) < _LEAST_BREAKS:
        return text
    *filled, last = (len(line) for line in lines)
    widest = max(filled)
    narrow = sum(length < widest * 0.6 for length in filled)
    ended = sum(_BREAK.search(line, len(line) - 6) is not None for line in lines)
    if not last <= widest <= _WIDEST_WINDOW or 5 * narrow > len(lines) or 3 * ended > len(lines):
        return text
    return ("" if min(filled) == widest else " ").join(lines)


def without_entities(text: str) -> str:
    """`&lt;` and the like as characters, once: what `&amp;lt;` yields is not read again."""
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text) if "&" in text else text


def opened_strings(text: str) -> str:
    r"""Strings of JSON or of a log that hold lines (`\n`) or JSON, opened to lines of their own.

    So are those of a JSON list of lines (Ansible's `stdout_lines`), where one holds a field.
    """
    text = _LISTED_FIELD.sub(r"\1", text)
    if not any(mark in text for mark in _IN_A_STRING):
        return text
    return "\n".join(
        _opened(line) if any(mark in line for mark in _IN_A_STRING) else line
        for line in text.split("\n")
    )


def opened_dicts(text: str) -> str:
    """A flat dictionary with a list, as Python prints it: a field a line, words for the list."""
    if _LIST_IN_DICT not in text:
        return text
    lines: list[str] = []
    for line in text.split("\n"):
        flat = line.lstrip().startswith("{'") and line.count("{") == 1 and _LIST_IN_DICT in line
        fields = _KEY.findall(line) if flat else []
        lines += [f"{key}: {_UNQUOTED.sub('', value)}" for key, value in fields] or [line]
    return "\n".join(lines)


def _opened(line: str) -> str:
    line = _STRING.sub(_as_lines, line)
    if line.count("\\n") >= _MANY_ESCAPED_LINES and _DRIVE.search(line) is None:
        line = _ESCAPE.sub(_character, line)
    return line


def _as_lines(match: re.Match[str]) -> str:
    if not any(mark in match[1] for mark in _IN_A_STRING):
        return match[0]
    try:
        value: str = json.loads('"' + match[1] + '"', strict=False)
    except ValueError:
        return match[0]
    inside = "\n" in value or value[:2] == '{"'
    return "\n" + value.replace("\r", "") + "\n" if inside else match[0]


def _character(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else _ESCAPES.get(match[3], match[0])


def without_soft_breaks(text: str) -> str:
    """A mail in quoted-printable (RFC 2045, 6.7) with its long lines whole again."""
    if "=\n" not in text or _QUOTED_BYTE.search(text) is None:
        return text
    return _QUOTED_BYTE.sub(
        lambda match: "=" if match[1] == "3D" else " ", _SOFT_BREAK.sub("", text)
    )


def without_markdown(text: str) -> str:
    """Without fences, bars of tables, list marks, bold and code marks.

    A row of a table becomes its cells with two blanks between them; in one of two cells the first
    gets a colon, if it has none. Several lists of flags in a row stand on lines of their own.
    """
    if "```" in text or "~~~" in text:
        text = _FENCE.sub("", text)
    if "`" in text:
        text = _CODE_MARK.sub("", text)
    if "|" in text:
        text = _TABLE_ROW.sub(_row, _TABLE_RULE.sub("", text))
        text = _TRAILING_BAR.sub("", text)
    if "**" in text or "__" in text:
        text = _BOLD.sub(r"\2", text)
    if "_" in text:
        text = _ITALIC.sub(r"\1", text)
    if "\\" in text:
        text = _ESCAPED.sub(lambda match: match[0][1:], text)
    return _LIST_MARK.sub(r"\1", text)


def _row(match: re.Match[str]) -> str:
    cells = [cell.strip() for cell in match[1].split("|")]
    lists = [cell for cell in cells if cell.startswith("fpu ")]
    if len(lists) > 1:  # a column a machine
        return "\n".join(f"{cells[0].rstrip(':')}: {cell}" for cell in lists)
    if len(cells) == 2 and cells[0] and not cells[0].endswith(":"):
        cells[0] += ":"
    return "  ".join(cells)
