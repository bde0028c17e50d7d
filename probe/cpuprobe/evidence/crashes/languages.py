"""What other languages call SIGILL and SIGSEGV: the words of glibc's, bash's and fish's catalogues.

Source: the msgstr of "Illegal instruction" and "Segmentation fault" in glibc 2.36, bash 5.2 and
fish 3.6, and older ones of the same as people paste them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

# Of SIGILL, wherever they stand in a line.
_ILLEGAL = (
    "ungültiger maschinenbefehl",
    "instruction non permise",
    "instruction illégale",
    "instrucción ilegal",
    "instrucción non permitida",
    "instrución ilegal",
    "instrucció il·legal",
    "la instrucció no és permesa",
    "istruzione non consentita",
    "istruzione illegale",
    "instrucțiune ilegală",
    "instrução ilegal",
    "недопустимая инструкция",
    "некорректная инструкция",
    "недопустима інструкція",
    "неприпустима інструкція",
    "помилкова інструкція",
    "неправилна инструкция",
    "незаконна инструкция",
    "неисправна инструкција",
    "недапушчальнае прадпісаньне",
    "nieprawidłowa instrukcja",
    "niedozwolona instrukcja",
    "błędna instrukcja",
    "neplatná instrukce",
    "nepovolená instrukce",
    "nedovolená instrukce",
    "neplatná inštrukcia",
    "neprípustná inštrukcia",
    "nedopuštena instrukcija",
    "nepropisna instrukcija",
    "netaisyklinga instrukcija",
    "illegale instructie",
    "illegale instruktion",
    "ongeldige instructie",
    "ogiltig instruktion",
    "otillåten instruktion",
    "ugyldig instruktion",
    "ulovlig instruktion",
    "ulovlig instruksjon",
    "geçersiz yönerge",
    "yönerge kurald\u0131ş\u0131",
    "kural d\u0131ş\u0131 komut",
    "érvénytelen utasítás",
    "virheellinen käsky",
    "instruksi ilegal",
    "instruksi tidak legal",
    "chỉ lệnh không hợp lệ",
    "treoir mídhleathach",
    "非法指令",
    "不正な命令",
    "不正命令",
    "잘못된 명령어",
)
# Of SIGILL, too, but an invalid command of any kind may be called so: at the end of a line, or
# before the brackets that tell of a core.
_ILLEGAL_AT_END = (
    "ungültige anweisung",
    "instruction incorrecte",
    "μη έγκυρη οδηγία",
    "ακατάλληλη εντολή",
    "neveljaven ukaz",
    "nedovoljen ukaz",
    "miskomando",
    "geçersiz talimat",
    "câu lệnh không được phép",
    "不正な指定",
    "부적절한 명령",
    "명령어가 잘못됨",
    "無效指令",
)
_SEGMENT = (
    "speicherzugriffsfehler",
    "adressierungsfehler",
    "erreur de segmentation",
    "violación de segmento",
    "fallo de segmento",
    "violació de segment",
    "errore di segmentazione",
    "falha de segmentação",
    "falta de segmentação",
    "eroare de segmentare",
    "ошибка сегментации",
    "ошибка сегментирования",
    "помилка адресування",
    "грешка в разделянето",
    "неуспех сегментације",
    "naruszenie ochrony pamięci",
    "chyba segmentace",
    "neoprávněný přístup do paměti",
    "chyba segmentácie",
    "segmentacijska greška",
    "segmentacijos klaida",
    "napaka segmentacije",
    "segmentatiefout",
    "segmenteringsfel",
    "minnesegmentsfeil",
    "muistialueen ylitys",
    "szegmenshiba",
    "szegmentálási hiba",
    "kesalahan segmentasi",
    "bölünme hatas\u0131",
    "parçalama ar\u0131zas\u0131",
    "lỗi phân đoạn",
    "σφάλμα κατάτμησης",
    "段错误",
    "程式記憶體區段錯誤",
    "セグメンテーションフォルト",
    "세그먼테이션 오류",
    "세그멘테이션 오류",
)
_ROWS = (
    ("SIGILL", _ILLEGAL, ""),
    ("SIGILL", _ILLEGAL_AT_END, "\\.?(?:\\s*[(\uff08]|\\s*$)"),
    ("SIGSEGV", _SEGMENT, ""),
)
_LONGEST_LINE = 4096


@cache
def _forms() -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """The rows with each word as UTF-8 spells it, and as that reads in Latin-1."""
    return tuple(
        (
            signal,
            tuple(
                dict.fromkeys(
                    form.lower()
                    for word in words
                    for form in (word, word.encode().decode("latin-1"))
                )
            ),
            behind,
        )
        for signal, words, behind in _ROWS
    )


def signals(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The lines that name a signal in another language, with its name; as UTF-8 and as Latin-1."""
    low = [line.lower() for line in lines]
    whole = "\n".join(low)
    for signal, forms, behind in _forms():
        there = [form for form in forms if form in whole]
        if not there:
            continue
        pattern = re.compile(f"(?:{'|'.join(map(re.escape, there))}){behind}")
        for at, line in enumerate(low):
            if len(line) <= _LONGEST_LINE and pattern.search(line) is not None:
                yield at, signal
