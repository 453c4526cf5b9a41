"""What departments write into Body Part Examined, in ten languages, to the defined terms of PS3.16 Annex L.

The attribute has defined terms, but senders copy the name of the examination into it: with the side
("L ANKLE"), the view ("KNEE_LAT"), in the plural, or in the language of the department ("Sprunggelenk"). A
value is understood only where every one of its words is; otherwise it stays as the header has it, so that
nothing is guessed from a part of it. The words are in resources/body_part_words.toml.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from importlib import resources
from types import MappingProxyType
from typing import Any

from monai_bone_ssl.body_parts import ANATOMY

__all__ = ["BESIDE", "WORDS", "term_of_body_part"]

# A Code String has at most 16 characters, broken ones have more; no reason is made longer by one.
_SHOWN = 40


def _read_vocabulary() -> dict[str, Any]:
    table = resources.files("monai_bone_ssl").joinpath("resources", "body_part_words.toml")
    return tomllib.loads(table.read_text(encoding="utf-8"))


_VOCABULARY = _read_vocabulary()

#: Word in upper case, without accents and blanks -> defined term, a key of ``body_parts.ANATOMY``.
WORDS: Mapping[str, str] = MappingProxyType(
    {term: term for term in ANATOMY}
    | {word: term for term, words in _VOCABULARY["terms"].items() for word in words.split()}
)
#: Words that say which side, which view, or that this is a radiograph, and leave the region as it is.
BESIDE = frozenset(_VOCABULARY["beside"].split())
_BESIDE_WITHIN = re.compile("|".join(_VOCABULARY["beside_within"].split()))
_JOINT = frozenset(_VOCABULARY["joint"].split())
_FILLER = frozenset(_VOCABULARY["filler"].split())

# Sides and views that are written without a blank before or behind the region: "LANKLE", "KNEELAT".
_GLUED = ("LEFT", "RIGHT", "LAT", "LT", "RT", "AP", "PA", "L", "R")
# Two bones that have a term together.
_PAIRS = {frozenset({"RADIUS", "ULNA"}): "RADIUSULNA", frozenset({"TIBIA", "FIBULA"}): "TIBIAFIBULA"}


def term_of_body_part(text: str) -> str | None:
    """Defined term that a Body Part Examined value means.

    Parameters
    ----------
    text
        Value as the header has it, in any case, script and punctuation.

    Returns
    -------
    A key of :data:`~monai_bone_ssl.body_parts.ANATOMY` where the value names one region in words known here;
    None where it is empty, says nothing ("DEFAULT", "LEFT"), or names two regions, so that the image decides;
    otherwise the value itself in upper case, at most 40 characters long (CHEST, SKULL).
    """
    tokens = list(_tokens(text))
    meant = [token for token in tokens if token not in BESIDE and not token.isdecimal()]
    joined = "".join(meant)
    if joined in WORDS:
        return WORDS[joined]
    meant = [token for token in meant if token not in _JOINT]
    if not meant or joined in _FILLER or "".join(tokens) in _FILLER:
        return None
    terms = {_term_of_token(token) for token in meant}
    if None in terms:
        return " ".join(text.upper().split())[:_SHOWN]
    if len(terms) == 1:
        return terms.pop()
    return _PAIRS.get(frozenset(term for term in terms if term is not None))


def _tokens(text: str) -> Iterator[str]:
    """Words of a value in upper case, without accents on Latin letters and sides inside them."""
    plain = "".join(map(_without_accent, unicodedata.normalize("NFKC", text).upper()))
    for token in re.findall(r"[^\W_]+", plain):
        if token in WORDS:
            yield token
        elif rest := _BESIDE_WITHIN.sub("", token):
            yield rest


def _without_accent(character: str) -> str:
    base = unicodedata.normalize("NFD", character)[0]
    return base if base.isascii() else character


def _term_of_token(token: str) -> str | None:
    """Defined term of one word, also with a side, view or joint glued to it; None where it is unknown."""
    glued = (*_GLUED, *_JOINT)
    cut = (rest for word in glued for rest in (token.removeprefix(word), token.removesuffix(word)))
    return WORDS.get(token) or next((WORDS[rest] for rest in cut if rest in WORDS), None)
