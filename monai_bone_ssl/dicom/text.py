"""Bytes of a header's text to characters (PS3.5 6.1), whatever character set the sender named.

The set that the header names comes first, escape sequences with it (ISO 2022, PS3.5 6.1.2.5). Bytes that it
does not have are read in another set only if every reading that makes words gives the same text: 0xFC is the
same letter in all alphabets that have a word "M?ller". What is left over is marked with U+FFFD, so that
whoever needs to be certain can tell.

https://dicom.nema.org/medical/dicom/current/output/chtml/part05/chapter_6.html
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["UNDECODED", "Decoded", "Repertoire", "decode_text", "repertoire_of"]

#: Stands for every byte that could not be decoded with certainty.
UNDECODED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Repertoire:
    """Characters that text may have before any escape sequence."""

    upper: str = "ascii"
    """Python's codec of bytes from 0xA0 on; "ascii" where there are none."""
    stands_alone: bool = False
    """Whether the codec is for whole values (UTF-8, GB18030), without escape sequences."""
    language: str = ""
    """Key of the codecs that senders in this language use by mistake."""


class Decoded(NamedTuple):
    """A text, and whether its bytes were what the header says."""

    text: str
    as_declared: bool


# Registration numbers of ISO 2375, which DICOM's terms carry, and Python's codecs of the upper half.
_SINGLE_BYTE = {
    13: "shift_jis",  # its single bytes are JIS X 0201
    100: "latin_1",
    101: "iso8859_2",
    109: "iso8859_3",
    110: "iso8859_4",
    126: "iso8859_7",
    127: "iso8859_6",
    138: "iso8859_8",
    144: "iso8859_5",
    148: "iso8859_9",
    166: "tis_620",
    203: "iso8859_15",
}
_LANGUAGES = {13: "Japanese", 87: "Japanese", 159: "Japanese", 58: "Chinese", 149: "Korean"}
_UTF_8 = Repertoire("utf_8", stands_alone=True)
_GB18030 = Repertoire("gb18030", stands_alone=True, language="Chinese")  # GBK and GB 2312 are parts of it
_REPERTOIRES = {
    "": Repertoire(),
    "ASCII": Repertoire(),
    "UTF8": _UTF_8,
    "GB18030": _GB18030,
    "GBK": _GB18030,
    "ISO2022GBK": _GB18030,
    "GB2312": _GB18030,
}
_ISO_8859 = {1: 100, 2: 101, 3: 109, 4: 110, 5: 144, 6: 127, 7: 126, 8: 138, 9: 148, 11: 166, 15: 203}

# ISO 2022 escape sequences of PS3.3 C.12.1.1.2: the half they change, what it is then, and bytes a character.
_ESCAPES: dict[bytes, tuple[str, str, int]] = {
    b"(B": ("lower", "ascii", 1),
    b"(J": ("lower", "ascii", 1),
    b"$@": ("lower", "jis_x_0208", 2),
    b"$B": ("lower", "jis_x_0208", 2),
    b"$(D": ("lower", "jis_x_0212", 2),
    b"$)A": ("upper", "gb2312", 2),
    b"$)C": ("upper", "euc_kr", 2),
    b")I": ("upper", "shift_jis", 1),
    b"-A": ("upper", "latin_1", 1),
    b"-B": ("upper", "iso8859_2", 1),
    b"-C": ("upper", "iso8859_3", 1),
    b"-D": ("upper", "iso8859_4", 1),
    b"-F": ("upper", "iso8859_7", 1),
    b"-G": ("upper", "iso8859_6", 1),
    b"-H": ("upper", "iso8859_8", 1),
    b"-L": ("upper", "iso8859_5", 1),
    b"-M": ("upper", "iso8859_9", 1),
    b"-T": ("upper", "tis_620", 1),
    b"-b": ("upper", "iso8859_15", 1),
}
_ESC = 0x1B

# Sets that text is written in by mistake. Latin-3 and -4 are in no use any more.
_ANY = (
    *("utf_8", "latin_1", "iso8859_2", "iso8859_9", "iso8859_15", "cp1250", "cp1252", "cp1254"),
    *("iso8859_5", "koi8_r", "cp1251", "iso8859_7", "cp1253", "iso8859_8", "cp1255", "iso8859_6", "cp1256"),
    *("tis_620", "gb18030", "big5", "shift_jis", "euc_jp", "cp949"),
)
_MISTAKEN = {
    "": _ANY,
    "Japanese": ("utf_8", "shift_jis", "euc_jp"),
    "Chinese": ("utf_8", "gb18030"),
    "Korean": ("utf_8", "cp949"),
}

# First words of Unicode names of characters that stand beside Chinese ones in Japanese words.
_JAPANESE = ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HALFWIDTH", "IDEOGRAPHIC")

# Where an initial of pinyin begins in the first level of GB 2312, which is in the order of pinyin.
_INITIALS = "abcdefghjklmnopqrstwxyz"
_FIRST_OF_INITIAL = [c.encode("gb2312") for c in "啊芭擦搭蛾发噶哈击喀垃妈拿哦啪期然撒塌挖昔压匝"]
_LAST_OF_LEVEL = "座".encode("gb2312")


def repertoire_of(terms: Sequence[str]) -> Repertoire | None:
    """Repertoire of a Specific Character Set, however its terms are spelt.

    Parameters
    ----------
    terms
        Values of (0008,0005); the first says what text begins with, the others which escape sequences occur.

    Returns
    -------
    None where the first term is unknown.
    """
    keys = [re.sub("[^A-Z0-9]", "", term.upper()) for term in terms] or [""]
    numbers = [_number(key) for key in keys]
    language = next((_LANGUAGES[n] for n in numbers if n in _LANGUAGES), "")
    known = _UTF_8 if numbers[0] == 192 else _REPERTOIRES.get(keys[0])
    if known is not None:
        return known if known.stands_alone else Repertoire(language=language)
    if numbers[0] in _SINGLE_BYTE:
        return Repertoire(_SINGLE_BYTE[numbers[0]], language=language)
    return Repertoire(language=language) if numbers[0] in (6, *_LANGUAGES) else None


def _number(key: str) -> int:
    """Registration number in a term like ISOIR100, ISO2022IR100 or ISO88591; 0 where it has none."""
    if part := re.fullmatch("ISO8859(?:P|PART)?([0-9]+)", key):
        return _ISO_8859.get(int(part[1]), 0)
    found = re.fullmatch("ISO(?:2022)?(?:IR)?([0-9]+)", key)
    return int(found[1]) if found else 0


def decode_text(value: bytes, repertoire: Repertoire | None, resets: bytes) -> Decoded:
    """Decode the whole value of an element, before it is split at backslash or "=".

    Parameters
    ----------
    value
        What the file has.
    repertoire
        That of the header; None where its term is unknown.
    resets
        Characters after which text begins anew: separators of values and of the parts of a name.

    Returns
    -------
    The text; bytes that cannot be decoded with certainty are U+FFFD.
    """
    if value.isascii() and _ESC not in value:
        return Decoded(value.decode("ascii"), as_declared=True)
    declared = repertoire or Repertoire()
    text = _decode_declared(value, declared, resets)
    if UNDECODED not in text and (_ESC in value or _makes_words(text)):
        return Decoded(text, repertoire is not None)
    readings = {} if _ESC in value else _readings(value, _MISTAKEN[declared.language])
    plain = _certain_reading(readings)
    if plain is None and UNDECODED not in text:
        return Decoded(text, repertoire is not None)
    if plain is None and len(readings) == 1:
        plain = next(iter(readings))
    return Decoded(text if plain is None else plain, as_declared=False)


def _decode_declared(value: bytes, declared: Repertoire, resets: bytes) -> str:
    if not declared.stands_alone:
        return "".join(_Iso2022(declared.upper, resets).decode(value))
    if _ESC not in value:
        try:
            return value.decode(declared.upper)
        except UnicodeDecodeError:
            return _marked(value)
    return "".join(_Iso2022("ascii", resets).decode(value))


def _marked(value: bytes) -> str:
    return "".join(chr(byte) if byte < 0x80 else UNDECODED for byte in value)


class _Iso2022:
    """Decoder of text with escape sequences: each changes the lower or the upper half of the code table.

    Parameters
    ----------
    upper
        Codec of the upper half at the beginning.
    resets
        Characters after which both halves are what they were at the beginning. An upper half that was not
        defined then stays what an escape sequence made it: nothing else can be meant.
    """

    def __init__(self, upper: str, resets: bytes) -> None:
        self._initial = upper
        self._resets = resets
        self._lower = ("ascii", 1)
        self._upper = (upper, 1)

    def decode(self, value: bytes) -> Iterator[str]:
        position = 0
        while position < len(value):
            taken, text = self._next(value[position : position + 4])
            position += taken
            yield text

    def _next(self, ahead: bytes) -> tuple[int, str]:
        """How many of the bytes ahead make the next character, and the character."""
        byte = ahead[0]
        if byte == _ESC:
            return self._escape(ahead)
        codec, size = self._lower if byte < 0x80 else self._upper
        if size == 2 and not self._is_pair(ahead):
            size, codec = 1, "ascii" if byte <= 0x20 or byte in self._resets else ""
        if size == 1 and byte in self._resets:
            self._lower = ("ascii", 1)
            self._upper = self._upper if self._initial == "ascii" else (self._initial, 1)
        return size, _character(ahead[:size], codec)

    def _escape(self, ahead: bytes) -> tuple[int, str]:
        for sequence in (ahead[1:3], ahead[1:4]):
            if sequence in _ESCAPES:
                half, codec, size = _ESCAPES[sequence]
                if half == "lower":
                    self._lower = (codec, size)
                else:
                    self._upper = (codec, size)
                return 1 + len(sequence), ""
        return 1, UNDECODED

    def _is_pair(self, ahead: bytes) -> bool:
        low, high = (0x21, 0x7E) if ahead[0] < 0x80 else (0xA1, 0xFE)
        return len(ahead) > 1 and low <= ahead[0] <= high and low <= ahead[1] <= high


def _character(code: bytes, codec: str) -> str:
    if codec in ("jis_x_0208", "jis_x_0212"):
        prefix = b"\x8f" if codec == "jis_x_0212" else b""
        code, codec = prefix + bytes(byte | 0x80 for byte in code), "euc_jp"
    elif 0x80 <= code[0] < 0xA0:
        return UNDECODED
    try:
        return code.decode(codec) if codec else UNDECODED
    except UnicodeDecodeError:
        return UNDECODED


def _readings(value: bytes, codecs: Sequence[str]) -> dict[str, str]:
    """All texts of words that the bytes can be, each with the first codec that gives it."""
    readings: dict[str, str] = {}
    for codec in codecs:
        try:
            text = value.decode(codec)
        except UnicodeDecodeError:
            continue
        if _makes_words(text):
            readings.setdefault(unicodedata.normalize("NFC", text), codec)
    return readings


def _certain_reading(readings: dict[str, str]) -> str | None:
    """The text that cannot be there by accident, whatever else the bytes might be."""
    for text, codec in readings.items():
        if codec == "utf_8" and _is_surely_utf_8(text):
            return text
        if codec == "gb18030" and _agrees_with_pinyin(text):
            return text
    return None


def _is_surely_utf_8(text: str) -> bool:
    """Whether what is beyond ASCII stands in words with it, or is too much to be valid by accident."""
    beyond = [character for character in text if character >= "\x80"]
    mixed = any(not word.isascii() and re.search("[A-Za-z]", word) for word in _words(text))
    return mixed or len(beyond) >= 4 or any(character > "\u07ff" for character in beyond)


def _words(text: str) -> list[str]:
    """Runs of letters, with the marks on them."""
    letters = "".join(c if unicodedata.category(c)[0] in "LM" else " " for c in text)
    return letters.split()


def _makes_words(text: str) -> bool:
    """Whether all beyond ASCII are letters, and each word has those of one script."""
    for character in text:
        if character >= "\x80" and unicodedata.category(character)[0] not in "LM":
            return False
    return all(len({_script(character) for character in word} - {"COMBINING"}) == 1 for word in _words(text))


def _script(letter: str) -> str:
    script = unicodedata.name(letter, "?").split()[0]
    return "CJK" if script in _JAPANESE else script


def _agrees_with_pinyin(name: str) -> bool:
    """Whether the Chinese group of a name begins its syllables with the letters of the Latin group."""
    latin, _, chinese = name.partition("=")
    initials = [_initial(character) for character in chinese if character >= "\x80"]
    if len(initials) < 2 or "" in initials:
        return False
    return re.match(".*".join(initials), latin.lower()) is not None


def _initial(character: str) -> str:
    """Initial of pinyin of a common Chinese character; empty for another character."""
    try:
        code = character.encode("gb2312")
    except UnicodeEncodeError:
        return ""
    if not _FIRST_OF_INITIAL[0] <= code <= _LAST_OF_LEVEL:
        return ""
    return _INITIALS[bisect(_FIRST_OF_INITIAL, code) - 1]
