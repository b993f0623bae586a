"""Words: documents to sentences, sentences to words, and back to text that people read.

Unicode is normalised (NFC) and typographic quotes are made plain; words are separated by white space, and punctuation
and symbols at a word's edges are words of their own, by Unicode category, so that combining marks stay where they
belong.  Writing without spaces between words (Chinese, Japanese, Thai) must be segmented beforehand.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

EOS = "<eos>"
UNK = "<unk>"

_PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "…": " ... ", "—": " -- ", "–": " -- "})  # noqa: RUF001
_BREAK = re.compile(r"<\s*br\s*/?\s*>", re.IGNORECASE)
_OWN_WORD = re.compile(r"(--+|\.\.\.+|<unk>)")  # <unk>: the mark of texts whose rare words were replaced before
# A sentence ends at . ! ? (or their wide forms), with closing quotes and brackets, before white space.
_END = re.compile(r"(?<=[.!?।。！？])([\"')\]]*)\s+")  # noqa: RUF001
_TITLE = re.compile(r"\b(mr|mrs|ms|dr|prof|st)\.$")
_NO_SPACE_BEFORE = set(".,!?;:)]}%'") | {"...", "।", "。", "，", "！", "？", "、"}  # noqa: RUF001
_NO_SPACE_AFTER = set("([{$#£€¿¡")


def normalise(text: str) -> str:
    """Return the text in NFC with plain quotes, lower case, markup breaks and white space as single spaces."""
    text = visible(unicodedata.normalize("NFC", text).translate(_PLAIN))
    return " ".join(_BREAK.sub(" ", text).lower().split())


def visible(text: str) -> str:
    """Return the text without format and control characters: soft hyphens, zero-width spaces, marks of direction.

    The zero-width joiner and non-joiner stay between characters that they join or part (Persian, Indic scripts,
    emoji).  White space stays, whatever its category.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for i, c in enumerate(text) if not _is_invisible(c) or _joins(text, i))


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Cc") and not character.isspace()


def _joins(text: str, place: int) -> bool:
    if text[place] not in "\u200c\u200d" or not 0 < place < len(text) - 1:
        return False
    return all(unicodedata.category(text[i])[0] in "LMS" and not text[i].isascii() for i in (place - 1, place + 1))


def sentences(document: str) -> list[str]:
    """Return the sentences of a normalised document; of abbreviations only titles ("mr. smith") are not an end."""
    parts = _END.split(document)
    # split() returns text, closers, text, closers, ..., text
    found: list[str] = []
    continued = ""
    for piece, closers in zip(parts[::2], [*parts[1::2], ""], strict=True):
        sentence = continued + piece + closers
        continued = sentence + " " if _TITLE.search(sentence) else ""
        if sentence and not continued:
            found.append(sentence)
    return [*found, continued.strip()] if continued else found


def words(sentence: str) -> list[str]:
    """Return the words and punctuation marks of a normalised sentence."""
    found: list[str] = []
    for chunk in _OWN_WORD.sub(r" \1 ", sentence).split():
        if chunk.isalnum() or _OWN_WORD.fullmatch(chunk):
            found.append(chunk)
            continue
        start, end = 0, len(chunk)
        while start < end and _mark(chunk[start]):
            start += 1
        while end > start and _mark(chunk[end - 1]):
            end -= 1
        found.extend(chunk[:start])
        if start < end:
            found.append(chunk[start:end])
        found.extend(chunk[end:])
    return found


def detokenise(tokens, vocabulary: Sequence[str]) -> str:
    """Return readable text for the tokens ``[T]`` of one sentence, up to ``<eos>``; start tokens are left out."""
    text, opened, glue = "", False, True
    for token in tokens:
        if not 0 <= int(token) < len(vocabulary):
            continue  # the start token has no word
        word = vocabulary[int(token)]
        if word == EOS:
            break
        if word == '"':
            before, after = ("", " ") if opened else (" ", "")
            opened = not opened
        else:
            before = "" if word in _NO_SPACE_BEFORE else " "
            after = "" if word in _NO_SPACE_AFTER else " "
        text += ("" if glue else before) + word
        glue = after == ""
    return text


def _mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"
