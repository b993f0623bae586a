"""Read documents from the IMDB archive, from the unpacked folder, or from any folder or file of text."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from zf_jax.data.dataset import DataError, Prepare
from zf_jax.data.prepared import archives
from zf_jax.data.prepared.folders import folders_in, read_bytes, walk
from zf_jax.extras import needs

_ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")
_TEXT_SUFFIXES = (".txt", ".text", ".tokens")
_LONGEST_PARAGRAPH = 50  # lines
_NARROWEST_PROSE = 60  # characters per line
_LARGEST_REVIEW = 16 << 20  # bytes
_SPLIT_NAMES = {"train": "train", "training": "train", "valid": "valid", "validation": "valid", "dev": "valid"}
_SPLIT_NAMES |= {"val": "valid", "test": "test", "testing": "test"}


class Document(NamedTuple):
    """The text of one document, the split that the file's name states ("" if none), and its place, FILE:LINE."""

    text: str
    split: str = ""
    name: str = ""


class Documents:
    """Iterate over the documents of a folder or file.

    The attributes are complete after the last document.

    Attributes:
      counts: the number of files left out, by reason.
      problems: an error for each file that cannot be read.
      files: the number of files opened.
    """

    def __init__(self, root: str, name: str):
        self._root, self._name = root, name
        self.counts: Counter[str] = Counter()
        self.problems: list[DataError] = []
        self.files = 0

    def __iter__(self) -> Iterator[Document]:
        with needs("data"):
            from tqdm import tqdm

        files = self._imdb_files() if self._name == "imdb" else self._text_files()
        for path, split, content in tqdm(files, desc=f"reading {self._name}", unit="file", disable=None):
            self.files += 1
            try:
                decoded = _decoded(path, read_bytes(path) if content is None else content)
            except DataError as error:
                self.problems.append(error)
                continue
            file = os.path.basename(path) if path == self._root else os.path.relpath(path, self._root)
            texts = [(1, decoded)] if self._name == "imdb" else numbered_paragraphs(decoded)
            yield from (Document(text, split, f"{file}:{line}") for line, text in texts)

    @property
    def states_valid(self) -> bool:
        """Whether a file's name states a validation split."""
        if self._name == "imdb" or not os.path.isdir(self._root):
            return False
        files = [path for path in walk(self._root).files if path.lower().endswith(_TEXT_SUFFIXES)]
        return "valid" in {stated_split(os.path.relpath(path, self._root)) for path in files}

    def _list(self, root: str) -> list[str]:
        listing = walk(root)
        self.problems += listing.problems
        self.counts["hidden_files_not_read"] += listing.hidden
        return listing.files

    def _text_files(self) -> Iterator[tuple[str, str, None]]:
        root = self._root
        if os.path.isfile(root):
            yield root, "", None
            return
        files = self._list(root)
        paths = [path for path in files if path.lower().endswith(_TEXT_SUFFIXES)]
        self.counts["other_files_not_read"] += len(files) - len(paths)
        if not paths:
            if self.problems:
                raise self.problems[0]
            raise DataError(
                root, "holds no .txt files", "pass a folder of .txt, .text or .tokens files, or one text file"
            )
        named = {path: stated_split(os.path.relpath(path, root)) for path in paths}
        if {"train", "test"} <= set(named.values()):
            # If names state splits, a file that states none (a README) is not part of the set.
            outside = sum(not split for split in named.values())
            if outside > len(named) / 2:  # then the words may be of titles: "The Last Train Home.txt"
                raise _few_state_splits(root, named, outside)
            self.counts["files_outside_the_stated_splits_not_read"] += outside
            yield from ((path, split, None) for path, split in named.items() if split)
        else:
            yield from ((path, "", None) for path in paths)

    def _imdb_files(self) -> Iterator[tuple[str, str, bytes | None]]:
        """Yield every review, labelled or not, from the unpacked folder or from the archive."""
        root = self._root
        for home in (root, os.path.join(root, "aclImdb")):
            if {"train", "test"} <= set(folders_in(home)):
                for path in self._list(home):
                    if _is_review(os.path.relpath(path, home).replace(os.sep, "/")):
                        yield path, "", None
                    else:
                        self.counts["other_files_not_read"] += 1
                return
        candidates = [root] if os.path.isfile(root) else [os.path.join(root, f) for f in sorted(os.listdir(root))]
        archive = next((c for c in candidates if "aclimdb" in c.lower() and c.lower().endswith(_ARCHIVES)), None)
        if archive is None:
            raise DataError(
                root, "holds neither aclImdb nor aclImdb_v1.tar.gz", "copy one there", Prepare("imdb", True)
            )
        for name, content in archives.contents(archive, self._is_wanted, _LARGEST_REVIEW):
            if content is None:
                what = f"is larger than {_LARGEST_REVIEW >> 20} MiB, the limit for one review"
                self.problems.append(DataError(f"{archive}:{name}", what, "remove the file"))
            else:
                yield f"{archive}:{name}", "", content

    def _is_wanted(self, name: str) -> bool:
        if os.path.basename(name).startswith("."):  # archives made on a Mac hold ._NAME for every NAME
            self.counts["hidden_files_not_read"] += 1
            return False
        if not _is_review(name):
            self.counts["other_files_not_read"] += 1
            return False
        return True


def _few_state_splits(root: str, named: dict[str, str], outside: int) -> DataError:
    example = {split: os.path.relpath(path, root) for path, split in named.items()}
    what = (
        f"holds {len(named) - outside} files whose names state a split ({example['train']!r}, {example['test']!r}) and "
        f"{outside} whose names state none, which would be left out"
    )
    return DataError(root, what, "rename the former to read all files", "move the latter away to keep those splits")


def stated_split(path: str) -> str:
    """Return the split that a path states in the file's name or a folder's (ptb.train.txt, test/a.txt), or ""."""
    for part in reversed(path.split(os.sep)):
        found = {_SPLIT_NAMES[word] for word in re.split(r"[._\- ]", part.lower()) if word in _SPLIT_NAMES}
        if len(found) == 1:
            return found.pop()
    return ""


def paragraphs(content: str) -> list[str]:
    """Return the blocks between blank lines; of a block that is a list of sentences, return every line.

    Lines end at LF, CRLF or CR only.
    """
    return [text for _, text in numbered_paragraphs(content)]


def numbered_paragraphs(content: str) -> list[tuple[int, str]]:
    """Return what ``paragraphs`` does, each with the number of its first line, from 1."""
    lines = enumerate((line.strip() for line in re.split(r"\r\n|\n|\r", content)), start=1)
    found: list[tuple[int, str]] = []
    block: list[tuple[int, str]] = []
    for number, line in [*lines, (0, "")]:
        if line:
            block.append((number, line))
        elif block:
            texts = [text for _, text in block]
            found += block if _is_list(texts) else [(block[0][0], "\n".join(texts))]
            block = []
    return found


def _is_list(lines: list[str]) -> bool:
    """Whether each line is a sentence: over 50 lines, or no full stops and line lengths unlike wrapped text."""
    if len(lines) > _LONGEST_PARAGRAPH:
        return True
    if len(lines) < 3 or any(re.search(r"[.!?\u0964\u3002\uff01\uff1f][\"')\]]*(\s|$)", line) for line in lines):
        return False
    sizes = [len(line) for line in lines]
    return max(sizes) < _NARROWEST_PROSE or min(sizes[:-1]) < max(sizes) / 2


def _decoded(path: str, content: bytes) -> str:
    try:
        decoded = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text (byte {error.start})"
        raise DataError(path, what, "convert the file, for example with iconv -t UTF-8") from None
    if "\0" in decoded:
        raise DataError(path, "is not text: the file holds zero bytes", "remove the file")
    return decoded


def _is_review(path: str) -> bool:
    parts = path.split("/")
    return len(parts) >= 3 and parts[-2] in ("pos", "neg", "unsup") and parts[-1].endswith(".txt")
