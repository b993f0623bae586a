"""Raw text to sentences of word tokens: the IMDB reviews, or any folder or file of text.

Documents are divided 85/5/10 by a hash of their own text, so that a review and its copies share a split whatever else
is in the corpus, and no sentence is judged beside its neighbours of the same review.  The vocabulary is counted on the
training sentences alone.  The paper's own IMDB crawl (Diao et al. 2014) is not public: ``imdb`` is that of Maas et al.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

from zf_jax.data.dataset import DataError, DataSet
from zf_jax.data.prepared import folders, splits, store
from zf_jax.data.sources import RaggedTokens
from zf_jax.data.text import words
from zf_jax.data.text.documents import documents
from zf_jax.typing import Observation

_SPLITS = ("train", "valid", "test")
_DEFAULTS = {"vocabulary_size": 16000, "max_words": 15, "valid_fraction": 0.05, "test_fraction": 0.10}
_BLOCK = 1000  # sentences a record: a set is read whole, so records are few and large
_EOS, _UNK = 0, 1  # <bos> has no word: it is the observation's start token


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
    """Return a corpus as sentences of at most ``max_words`` words and punctuation marks, each closed by ``<eos>``.

    Args:
      data_dir: for ``imdb`` the folder of the archive or of ``aclImdb``; for ``text_folder`` a folder of .txt files or
        one file; or the data directory ``experiments.prepare_data`` wrote.
      name: ``imdb`` or ``text_folder``.
      skip_bad_files: count and skip files that are not UTF-8, instead of stopping.
      cache_dir: where the tokens are kept; ``$ZF_JAX_CACHE`` or ``~/.cache/zf_jax`` by default.
      vocabulary_size: words at most, ``<eos>`` and ``<unk>`` included: the commonest of the training split.  Up to
        16,000 it is chosen on reading, and what was prepared once serves them all.
      max_words: longer sentences are left out, and counted.
      valid_fraction: of the documents.
      test_fraction: of the documents.

    Raises:
      DataError: nothing is there, a file is not UTF-8 text, or a split is left empty.
    """
    options = {
        "vocabulary_size": _stored_size(vocabulary_size),
        "max_words": int(max_words),
        "valid_fraction": valid_fraction,
        "test_fraction": test_fraction,
    }
    folder = folders.need_folder(data_dir, name)
    config = store.config_name(name, options, _DEFAULTS)
    path = store.find(folder, config)
    if path is None:
        there = store.variants(folder, name)
        if there:
            raise DataError(
                f"{folder} holds {name} prepared with other options ({', '.join(there)}): load it with the same ones, "
                "or prepare it again with these"
            )
        home = folders.cache_dir(cache_dir, folder)
        path = store.find(home, config) or prepare_text(
            folder, home, name=name, skip_bad_files=skip_bad_files, **options
        )
    return _dataset(name, path, skip_bad_files, int(vocabulary_size))


def prepare_text(manual_dir: str, data_dir: str, *, name: str, skip_bad_files: bool = False, **options) -> str:
    """Tokenise a corpus into array_record files under ``data_dir`` and return their path.

    Arguments and errors as for ``load_text``; a set that is there already is left as it is.
    """
    unknown = sorted(set(options) - set(_DEFAULTS))
    if unknown:
        raise DataError(f"{name} has no option {unknown[0]!r}: it takes {', '.join(sorted(_DEFAULTS))}")
    options = {**_DEFAULTS, **options}
    options["vocabulary_size"] = _stored_size(options["vocabulary_size"])
    if options["max_words"] < 1:
        raise DataError(f"a sentence holds at least one word: max_words cannot be {options['max_words']}")
    config = store.config_name(name, options, _DEFAULTS)
    return store.prepare(config, lambda: _recipe(manual_dir, name, skip_bad_files, options), data_dir)


def _recipe(manual_dir: str, name: str, skip_bad_files: bool, options: dict[str, Any]) -> store.Recipe:
    import tensorflow_datasets as tfds

    corpus = _Corpus(options)
    bad: list[str] = []
    for document, problem in documents(manual_dir, name):
        if problem:
            bad.append(problem)
        else:
            corpus.add(document)
    if bad and not skip_bad_files:
        others = f" ({len(bad)} files are bad)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{others}; or pass --config.data.skip_bad_files=True to count and skip bad files")
    vocabulary, tokens, facts = corpus.finish(manual_dir)
    tensor = tfds.features.Tensor(shape=(None,), dtype=np.int32, encoding=tfds.features.Encoding.BYTES)
    generators = {split: (lambda split=split: _records(*tokens[split])) for split in _SPLITS}
    metadata = {"vocabulary": vocabulary, "counts": facts, "bad_files": bad}
    return store.Recipe({"tokens": tensor, "lengths": tensor}, generators, metadata)


class _Corpus:
    """Collects the sentences of each split as provisional word numbers, then numbers words by frequency."""

    def __init__(self, options: dict[str, Any]):
        self._options = options
        self._numbers: dict[str, int] = {}
        self._flat = {split: array("i") for split in _SPLITS}
        self._lengths = {split: array("i") for split in _SPLITS}
        counted = ("documents", "sentences", "sentences_too_long_left_out", "sentences_of_punctuation_left_out")
        self._facts: dict[str, dict[str, int]] = {split: dict.fromkeys(counted, 0) for split in _SPLITS}

    def add(self, document: str) -> None:
        document = words.normalise(document)
        if not document:
            return
        split = splits.by_hash(document, self._options["valid_fraction"], self._options["test_fraction"])
        facts, numbers, limit = self._facts[split], self._numbers, self._options["max_words"]
        facts["documents"] += 1
        for sentence in words.sentences(document):
            # A chunk between spaces is at least one word, so most long sentences need not be looked at closely.
            found = words.words(sentence) if sentence.count(" ") < limit else None
            if found is None or len(found) > limit:
                facts["sentences_too_long_left_out"] += 1
                continue
            if not any(character.isalnum() for word in found for character in word):
                facts["sentences_of_punctuation_left_out"] += 1
                continue
            facts["sentences"] += 1
            self._flat[split].extend([numbers.setdefault(word, len(numbers)) for word in found])
            self._lengths[split].append(len(found))

    def finish(self, where: str) -> tuple[list[str], dict[str, tuple[np.ndarray, np.ndarray]], dict[str, Any]]:
        """Return the vocabulary, (tokens, lengths) with ``<eos>`` for each split, and the counts."""
        for split in _SPLITS:
            if not self._lengths[split]:
                raise DataError(
                    f"{where} leaves the {split} split empty: it needs more documents with sentences of at most "
                    f"{self._options['max_words']} words, or larger fractions"
                )
        found = list(self._numbers)
        counts = np.bincount(np.frombuffer(self._flat["train"], np.int32), minlength=len(found))
        seen = [i for i in range(len(found)) if counts[i] > 0]
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
        facts = {"text": self._facts, "words_of_train_outside_the_vocabulary": len(seen) - len(kept)}
        return [words.EOS, words.UNK, *(found[i] for i in kept)], tokens, facts


def _records(tokens: np.ndarray, lengths: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    ends = np.cumsum(lengths)
    for first in range(0, len(lengths), _BLOCK):
        last = min(first + _BLOCK, len(lengths))
        start = int(ends[first] - lengths[first])
        yield {"tokens": tokens[start : int(ends[last - 1])], "lengths": lengths[first:last].astype(np.int32)}


def _stored_size(vocabulary_size: int) -> int:
    if vocabulary_size < 3:
        raise DataError(f"a vocabulary needs at least 3 words, <eos> and <unk> included, not {vocabulary_size}")
    return max(int(vocabulary_size), _DEFAULTS["vocabulary_size"])


def _dataset(name: str, path: str, skip_bad_files: bool, vocabulary_size: int) -> DataSet:
    metadata = store.read_metadata(path)
    bad = metadata["bad_files"]
    if bad and not skip_bad_files:
        raise DataError(
            f"{path} was prepared without {len(bad)} bad files, the first: {bad[0]}; mend them and prepare again, or "
            "pass --config.data.skip_bad_files=True"
        )
    vocabulary = tuple(metadata["vocabulary"][:vocabulary_size])  # the commonest come first
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
