"""Read text as sentences of word tokens: the IMDB reviews, or any folder or file of text.

A hash of a document's text chooses the document's split, 85/5/10, so that equal documents share a split.  A folder
whose file names state training and test (ptb.train.txt, wiki.test.tokens) keeps the stated splits.  The vocabulary is
counted on the training split alone.  ``imdb`` is the set of Maas et al. (2011); the paper's set (Diao et al. 2014) is
not public.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

from zf_jax.data.dataset import DataError, DataSet, shown
from zf_jax.data.options import check_options
from zf_jax.data.prepared import folders, splits, store
from zf_jax.data.sources import RaggedTokens
from zf_jax.data.text import words
from zf_jax.data.text.documents import Document, Documents
from zf_jax.extras import needs
from zf_jax.typing import Observation

_SPLITS = ("train", "valid", "test")
_DEFAULTS = {"vocabulary_size": 16000, "max_words": 15, "valid_fraction": 0.05, "test_fraction": 0.10}
_BLOCK = 1000  # sentences per record: a set is read whole, so large records read faster
_EOS, _UNK = 0, 1  # the start token is outside the vocabulary


def load_text(
    *,
    data_dir: str | None = None,
    name: str = "text_folder",
    skip_bad_files: bool = False,
    cache_dir: str | None = None,
    vocabulary_size: int = 16000,
    max_words: int = 15,
    valid_fraction: float = 0.05,
    test_fraction: float = 0.10,
) -> DataSet:
    """Return a corpus as sentences of at most ``max_words`` words and punctuation marks, each ended by ``<eos>``.

    Args:
      data_dir: for ``imdb`` the folder of the archive or of ``aclImdb``; for ``text_folder`` one text file or a folder
        of .txt, .text or .tokens files; or the data directory that ``prepare`` wrote.
      name: ``imdb`` or ``text_folder``.
      skip_bad_files: count and skip files that are not UTF-8, instead of stopping.
      cache_dir: the folder where tokens are kept; ``$ZF_JAX_CACHE`` or ``~/.cache/zf_jax`` by default.
      vocabulary_size: the largest number of words, ``<eos>`` and ``<unk>`` included.  The most frequent words of the
        training split are kept.  All sizes up to 16,000 read the same prepared files.
      max_words: sentences with more words are left out and counted.
      valid_fraction: the share of documents for validation.
      test_fraction: the share of documents for the test.

    Raises:
      DataError: the folder holds no text, a file is not UTF-8 text, or a split is empty.
    """
    options = {
        "vocabulary_size": _stored_size(vocabulary_size),
        "max_words": int(max_words),
        "valid_fraction": valid_fraction,
        "test_fraction": test_fraction,
    }
    folder = folders.need_folder(data_dir, name)

    def prepare_into(home: str) -> str:
        return prepare_text(folder, home, name=name, skip_bad_files=skip_bad_files, **options)

    path = store.find_or_prepare(folder, cache_dir, name, store.config_name(name, options, _DEFAULTS), prepare_into)
    return _dataset(name, path, skip_bad_files, int(vocabulary_size))


def prepare_text(manual_dir: str, data_dir: str, *, name: str, skip_bad_files: bool = False, **options) -> str:
    """Tokenise the corpus in ``manual_dir`` into array_record files under ``data_dir``; return the path of the files.

    Options and errors are those of ``load_text``.  An existing preparation is kept.
    """
    check_options(name, options, _DEFAULTS)
    options = {**_DEFAULTS, **options}
    options["vocabulary_size"] = _stored_size(options["vocabulary_size"])
    if options["max_words"] < 1:
        raise DataError("", f"max_words must be at least 1, not {options['max_words']}")
    for fraction in ("valid_fraction", "test_fraction"):
        if not 0.0 < options[fraction] < 1.0:
            raise DataError("", f"{fraction} must be between 0 and 1, not {options[fraction]}")
    if options["valid_fraction"] + options["test_fraction"] >= 1.0:
        raise DataError("", "valid_fraction and test_fraction must add up to less than 1")
    config = store.config_name(name, options, _DEFAULTS)
    return store.prepare(config, lambda: _recipe(manual_dir, name, skip_bad_files, options), data_dir, manual_dir)


def _recipe(manual_dir: str, name: str, skip_bad_files: bool, options: dict[str, Any]) -> store.Recipe:
    with needs("data"):
        import tensorflow_datasets as tfds

    found = Documents(manual_dir, name)
    corpus = _Corpus(options, found.states_valid)
    for document in found:
        corpus.add(document)
    if found.problems and not skip_bad_files:
        raise store.with_others(found.problems, found.files)
    vocabulary, tokens, facts = corpus.finish(manual_dir)
    tensor = tfds.features.Tensor(shape=(None,), dtype=np.int32, encoding=tfds.features.Encoding.BYTES)
    generators = {split: (lambda split=split: _records(*tokens[split])) for split in _SPLITS}
    bad_files = [error.fact for error in found.problems]
    metadata = {"vocabulary": vocabulary, "counts": {**facts, **found.counts}, "bad_files": bad_files}
    return store.Recipe({"tokens": tensor, "lengths": tensor}, generators, lambda _: metadata)


class _Corpus:
    """Collect the sentences of each split with words numbered by first use; then number words by frequency."""

    def __init__(self, options: dict[str, Any], states_valid: bool = False):
        self._options, self._states_valid = options, states_valid
        self._numbers: dict[str, int] = {}
        self._flat = {split: array("i") for split in _SPLITS}
        self._lengths = {split: array("i") for split in _SPLITS}
        counted = ("documents", "sentences", "sentences_too_long_left_out", "words_of_these_about")
        counted += ("sentences_of_punctuation_left_out",)
        self._stated: set[str] = set()
        self._facts: dict[str, dict[str, int]] = {split: dict.fromkeys(counted, 0) for split in _SPLITS}

    def add(self, document: Document) -> None:
        content = words.normalise(document.text)
        if not content:
            return
        split = self._split(content, document.split)
        facts, numbers, limit = self._facts[split], self._numbers, self._options["max_words"]
        facts["documents"] += 1
        for sentence in words.sentences(content):
            # A chunk between spaces is at least one word, so most long sentences need no tokenising.
            found = words.words(sentence) if sentence.count(" ") < limit else None
            if found is None or len(found) > limit:
                facts["sentences_too_long_left_out"] += 1
                facts["words_of_these_about"] += sentence.count(" ") + 1
                continue
            if not any(character.isalnum() for word in found for character in word):
                facts["sentences_of_punctuation_left_out"] += 1
                continue
            facts["sentences"] += 1
            self._flat[split].extend([numbers.setdefault(word, len(numbers)) for word in found])
            self._lengths[split].append(len(found))

    def _split(self, content: str, stated: str) -> str:
        """Return the split that a document's file states, or else the split that the hash of the text chooses.

        If files state training and test but no validation, validation documents are taken from training.
        """
        valid, test = self._options["valid_fraction"], self._options["test_fraction"]
        if not stated:
            return splits.by_hash(content, valid, test)
        self._stated.add(stated)
        if stated == "train" and not self._states_valid:
            return "valid" if splits.stable_fraction(content) < valid else "train"
        return stated

    def finish(self, where: str) -> tuple[list[str], dict[str, tuple[np.ndarray, np.ndarray]], dict[str, Any]]:
        """Return the vocabulary, (tokens, lengths) with ``<eos>`` for each split, and the counts."""
        for split in _SPLITS:
            if not self._lengths[split]:
                limit = self._options["max_words"]
                remedy = f"add documents with sentences of at most {limit} words, or choose larger fractions"
                raise DataError(where, f"leaves the {split} split empty", remedy)
        found = list(self._numbers)
        counts = np.bincount(np.frombuffer(self._flat["train"], np.int32), minlength=len(found))
        # A literal <unk> in the text is the unknown word, not a separate entry.
        seen = [i for i in range(len(found)) if counts[i] > 0 and found[i] != words.UNK]
        kept = sorted(seen, key=lambda i: (-counts[i], found[i]))[: self._options["vocabulary_size"] - 2]
        final = np.full(len(found), _UNK, np.int32)
        final[kept] = np.arange(len(kept)) + 2
        tokens = {}
        for split in _SPLITS:
            flat, lengths = np.frombuffer(self._flat[split], np.int32), np.frombuffer(self._lengths[split], np.int32)
            numbered = np.insert(final[flat], np.cumsum(lengths), _EOS).astype(np.int32)
            tokens[split] = (numbered, lengths + 1)
            self._facts[split]["words"] = len(flat)
            self._facts[split]["words_and_eos"] = len(numbered)
        division = {"split": "as the files' names state"} if self._stated else {}
        facts = {"text": self._facts, **division, "words_of_train_outside_the_vocabulary": len(seen) - len(kept)}
        return [words.EOS, words.UNK, *(found[i] for i in kept)], tokens, facts


def _records(tokens: np.ndarray, lengths: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    ends = np.cumsum(lengths)
    for first in range(0, len(lengths), _BLOCK):
        last = min(first + _BLOCK, len(lengths))
        start = int(ends[first] - lengths[first])
        yield {"tokens": tokens[start : int(ends[last - 1])], "lengths": lengths[first:last].astype(np.int32)}


def _stored_size(vocabulary_size: int) -> int:
    if vocabulary_size < 3:
        raise DataError("", f"vocabulary_size must be at least 3, <eos> and <unk> included, not {vocabulary_size}")
    return max(int(vocabulary_size), _DEFAULTS["vocabulary_size"])


def _dataset(name: str, path: str, skip_bad_files: bool, vocabulary_size: int) -> DataSet:
    metadata = store.read_metadata(path)
    bad = metadata["bad_files"]
    if bad and not skip_bad_files:
        raise store.prepared_without(path, bad)
    # Words are sorted by frequency, and escaped because words of older preparations may hold control characters.
    vocabulary = tuple(map(shown, metadata["vocabulary"][:vocabulary_size]))
    counts = metadata["counts"]
    counts["words_of_train_outside_the_vocabulary"] += len(metadata["vocabulary"]) - len(vocabulary)
    observation = Observation("tokens", len(vocabulary))
    sources = {}
    for split, records in store.open_splits(path).items():
        read = [records[i] for i in range(len(records))]
        lengths = np.concatenate([r["lengths"] for r in read]).astype(np.int64)
        tokens = np.concatenate([r["tokens"] for r in read])
        tokens = np.where(tokens < len(vocabulary), tokens, np.int32(_UNK))
        counts["text"][split]["unknown_words"] = int((tokens == _UNK).sum())
        sources[split] = RaggedTokens(tokens, np.cumsum(lengths) - lengths, lengths, observation.start_token)
    return DataSet(
        name=name,
        observation=observation,
        default_emission="categorical",
        splits={split: sources[split] for split in _SPLITS},
        units="word",
        vocabulary=vocabulary,
        counts={**counts, "bad_files_skipped": len(bad), "bad_files": bad},
    )
