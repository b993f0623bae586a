"""Split documents into sentences and sentences into words, and join words into readable text.

Text is normalised to NFC, and typographic quotes become plain quotes.  White space separates words.  Punctuation marks
and symbols (Unicode categories P and S) at a word's ends are words of their own; combining marks stay in the word.
Segment text without spaces between words (Chinese, Japanese, Thai) beforehand.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

EOS = "<eos>"
UNK = "<unk>"

_PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "…": " ... ", "—": " -- ", "–": " -- "})  # noqa: RUF001
_BREAK = re.compile(r"<\s*br\s*/?\s*>", re.IGNORECASE)
_OWN_WORD = re.compile(r"(--+|\.\.\.+|<unk>)")  # some corpora come with rare words replaced by <unk>
# A sentence ends at . ! ? (or their wide forms), with closing quotes and brackets, before white space.
_END = re.compile(r"(?<=[.!?।。！？])([\"')\]]*)\s+")  # noqa: RUF001
_TITLE = re.compile(r"\b(mr|mrs|ms|dr|prof|st)\.$")
_NO_SPACE_BEFORE = set(".,!?;:)]}%'") | {"...", "।", "。", "，", "！", "？", "、"}  # noqa: RUF001
_NO_SPACE_AFTER = set("([{$#£€¿¡")


def normalise(text: str) -> str:
    """Return the text in NFC and lower case, with plain quotes; <br> tags and white space become single spaces."""
    text = visible(unicodedata.normalize("NFC", text).translate(_PLAIN))
    return " ".join(_BREAK.sub(" ", text).lower().split())


def visible(text: str) -> str:
    """Return the text without format and control characters (soft hyphens, zero-width spaces, direction marks).

    The zero-width joiner and non-joiner stay between non-ASCII letters, marks and symbols (Persian, Indic scripts,
    emoji).  White space always stays.
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
    """Return the sentences of a normalised document.

    A title ("mr. smith") does not end a sentence; any other abbreviation with a full stop does.
    """
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
    """Return the tokens ``[T]`` of one sentence as readable text, up to ``<eos>``, without start tokens."""
    text, opened, glue = "", False, True
    for token in tokens:
        if not 0 <= int(token) < len(vocabulary):
            continue  # the start token is outside the vocabulary
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
