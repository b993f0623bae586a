"""Documents out of files: the IMDB archive or its folder, and any folder or file of text."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator

from zf_jax.data.dataset import DataError
from zf_jax.data.prepared.folders import walk

_ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")
_LONGEST_PARAGRAPH = 50  # lines


def documents(root: str, name: str) -> Iterator[tuple[str, str | None]]:
    """Yield (document, None), or ("", what is wrong with its file)."""
    from tqdm import tqdm

    files = _imdb_files(root) if name == "imdb" else _text_files(root)
    for path, content in tqdm(files, desc=f"reading {name}", unit="file", disable=None):
        try:
            decoded = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            yield "", f"{path} is not UTF-8 text (byte {error.start}): convert it, for example with iconv -t UTF-8"
            continue
        if "\0" in decoded:
            yield "", f"{path} is not text: it holds zero bytes; remove it"
        elif name == "imdb":
            yield decoded, None
        else:
            yield from ((paragraph, None) for paragraph in paragraphs(decoded))


def paragraphs(content: str) -> list[str]:
    """Return what lies between blank lines; of a block too long for a paragraph, a list rather, every line."""
    found: list[str] = []
    for block in re.split(r"\n{2,}", "\n".join(line.strip() for line in content.splitlines())):
        lines = block.split("\n")
        found += lines if len(lines) > _LONGEST_PARAGRAPH else [block.strip()]
    return [document for document in found if document]


def _text_files(root: str) -> Iterator[tuple[str, bytes]]:
    paths = [root] if os.path.isfile(root) else [p for p in walk(root) if p.lower().endswith(".txt")]
    if not paths:
        raise DataError(f"{root} holds no .txt files: give a folder of text files, or one file")
    for path in paths:
        with open(path, "rb") as file:
            yield path, file.read()


def _imdb_files(root: str) -> Iterator[tuple[str, bytes]]:
    """Yield every review, labelled or not, of the unpacked folder or of the archive."""
    for home in (root, os.path.join(root, "aclImdb")):
        if os.path.isdir(os.path.join(home, "train")) and os.path.isdir(os.path.join(home, "test")):
            for path in walk(home):
                if _is_review(os.path.relpath(path, home).replace(os.sep, "/")):
                    with open(path, "rb") as file:
                        yield path, file.read()
            return
    candidates = [root] if os.path.isfile(root) else [os.path.join(root, f) for f in sorted(os.listdir(root))]
    archive = next((c for c in candidates if "aclimdb" in c.lower() and c.lower().endswith(_ARCHIVES)), None)
    if archive is None:
        raise DataError(
            f"{root} holds neither aclImdb nor aclImdb_v1.tar.gz: put one there "
            "(python -m experiments.prepare_data --name=imdb fetches it)"
        )
    try:
        with tarfile.open(archive, "r|*") as opened:  # as a stream: the order of the archive, once
            for member in opened:
                if member.isfile() and _is_review(member.name):
                    content = opened.extractfile(member)
                    assert content is not None  # a regular file always has content
                    yield f"{archive}:{member.name}", content.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive} is damaged ({str(error)[:80]}): copy it again from its source") from None


def _is_review(path: str) -> bool:
    parts = path.split("/")
    return len(parts) >= 3 and parts[-2] in ("pos", "neg", "unsup") and parts[-1].endswith(".txt")
