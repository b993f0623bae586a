"""Read data that a run was not trained on as its model reads its own: by the run's statistics and vocabulary."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zf_jax.data.arrays import source_of
from zf_jax.data.arrays_file import in_names, read_arrays, read_context
from zf_jax.data.dataset import DataError, shown
from zf_jax.data.description import DataDescription
from zf_jax.data.prepared.folders import walk
from zf_jax.data.registry import load
from zf_jax.data.sources import RaggedTokens
from zf_jax.data.tables import holds_tables, read_tables
from zf_jax.protocols import Source


def foreign_source(
    path: str,
    data: DataDescription,
    *,
    split: str | None = None,
    warn: Callable[[str], None] = warnings.warn,
    **options: Any,
) -> Source:
    """Return the sequences in ``path`` as the model of a run reads them.

    Recordings, text and arrays are read whole, without splits, and named after their files: recordings are scaled by
    the run's mean and standard deviation, words that are not in the run's vocabulary become ``<unk>``.  A sentence is
    a sequence however long it is.  Of images and music, which have no statistics, ``path`` is a set like the run's own.

    Args:
      path: a folder or file.
      data: what the run's data are.
      split: read ``path`` as a set like the run's own, and take this split; None reads all, of images and music
        ``test``.
      warn: told, in one sentence, which files are not among the sequences.
      **options: those of the run's data: ``resample``, ``downmix``, ``skip_bad_files`` and others.

    Raises:
      DataError: the data are missing or damaged, of another shape, or, with ``split``, of other statistics.
    """
    if not os.path.exists(path):
        raise DataError(path, "does not exist", "give a folder or file")
    if split is None and data.sample_rate is not None:
        return _recordings(path, data, warn, options)
    if split is None and data.vocabulary is not None:
        return _sentences(path, data, warn, options)
    if split is None and data.name == "arrays" and holds_tables(path):
        return _tables(path, data, warn, options)
    if split is None and data.name == "arrays":
        values, lengths, _, names = read_arrays(path)
        context, labels = read_context(path)
        names = None if names is None else names.tolist()
        try:
            return source_of(values, lengths, data, names=names, context=context, labels=labels)
        except DataError as error:
            raise DataError(path, f": {error.what}", *error.remedies) from None
    found = load(data.name, data_dir=path, **options)
    theirs, mine = DataDescription.of(found), data
    if theirs.observation != mine.observation or theirs.protocol != mine.protocol:
        raise DataError(path, f"holds {theirs.observation}, and the run was trained on {mine.observation}")
    beside = theirs.context_normalisation != mine.context_normalisation
    if beside or (theirs.normalisation, theirs.vocabulary) != (mine.normalisation, mine.vocabulary):
        what = "holds data of other statistics than the run's"
        raise DataError(path, what, "leave the split out to read all of them by the run's own")
    return found.split(split or "test")


def _tables(path: str, data: DataDescription, warn: Callable[[str], None], options: Mapping[str, Any]) -> Source:
    """Whole sequences of tables, of the columns that the run was trained on."""
    if data.columns is None:
        raise DataError(path, "holds tables, and the run was trained on arrays, whose dimensions have no names")
    reading = {
        name: options[name] for name in ("context_columns", "sequence_column", "order_column") if name in options
    }
    skip, missing = bool(options.get("skip_bad_files")), data.observation.missing
    found = read_tables(path, columns=data.columns, missing=missing, skip_bad_files=skip, **reading)
    _tell_bad(path, found.counts["bad_files"], warn)
    try:
        return source_of(found.values, None, data, names=found.names, context=found.context)
    except DataError as error:
        raise DataError(path, f": {in_names(error.what, found.names)}", *error.remedies) from None


def _recordings(path: str, data: DataDescription, warn: Callable[[str], None], options: Mapping[str, Any]) -> Source:
    """Whole recordings, one a file."""
    from zf_jax.data.speech.audio import is_audio, read_audio, without_audio_suffix
    from zf_jax.data.speech.source import BLOCK, SpeechSource

    assert data.normalisation is not None
    listing = walk(path)
    bad = list(listing.problems)
    if bad and not options.get("skip_bad_files"):
        raise bad[0]
    files = [file for file in listing.files if file == path or is_audio(file)]
    names, lengths, blocks = [], [], []
    for file in files:
        try:
            samples, _ = read_audio(
                file,
                data.sample_rate,
                resample=bool(options.get("resample")),
                downmix=bool(options.get("downmix")),
            )
        except DataError as error:
            if not options.get("skip_bad_files"):
                raise
            bad.append(error)
            continue
        names.append(without_audio_suffix(os.path.basename(path) if file == path else os.path.relpath(file, path)))
        lengths.append(len(samples))
        blocks += [samples[begin : begin + BLOCK] for begin in range(0, len(samples), BLOCK)]
    source = SpeechSource(
        blocks,
        lengths,
        frame_size=data.observation.size,
        piece_frames=None,
        protocol=data.protocol,
        mean=data.normalisation["mean"],
        std=data.normalisation["std"],
        names=names,
    )
    _tell_bad(path, [error.fact for error in bad], warn)
    if source.recordings_too_short:
        scored = set(source.recording.tolist())
        short = ", ".join(shown(name) for place, name in enumerate(names) if place not in scored)
        least = data.observation.size * (2 if data.protocol == "srnn" else 1)
        warn(
            f"{source.recordings_too_short} of {len(names)} recordings in {path} are not among the sequences, being "
            f"shorter than {least} samples: {short}"
        )
    if not len(source):
        raise DataError(path, "holds no recording that is long enough to score", "give another folder")
    return source


def _sentences(path: str, data: DataDescription, warn: Callable[[str], None], options: Mapping[str, Any]) -> Source:
    """Sentences, named FILE:LINE, the line on which their paragraph begins, and FILE:LINE.2 from the second on."""
    from zf_jax.data.text import words
    from zf_jax.data.text.documents import Documents

    assert data.vocabulary is not None
    numbers = {word: number for number, word in enumerate(data.vocabulary)}
    unknown, end = numbers[words.UNK], numbers[words.EOS]
    documents = Documents(path, "text_folder")
    rows, names = [], []
    for document in documents:
        for place, sentence in enumerate(words.sentences(words.normalise(document.text))):
            found = [numbers.get(word, unknown) for word in words.words(sentence)]
            if found:
                rows.append(np.array([*found, end], np.int32))
                names.append(document.name if place == 0 else f"{document.name}.{place + 1}")
    if documents.problems and not options.get("skip_bad_files"):
        raise documents.problems[0]
    _tell_bad(path, [error.fact for error in documents.problems], warn)
    if outside := documents.counts["files_outside_the_stated_splits_not_read"]:
        why = "their names state no split, and those of others state train and test"
        warn(f"{outside} text files in {path} are not among the sequences: {why}")
    if not rows:
        raise DataError(path, "holds no sentence", "give a folder of text files, or one file")
    lengths = np.array([len(row) for row in rows], np.int64)
    starts = np.cumsum(lengths) - lengths
    return RaggedTokens(np.concatenate(rows), starts, lengths, data.observation.start_token, names)


def _tell_bad(path: str, facts: Sequence[str], warn: Callable[[str], None]) -> None:
    """Name the files that the run's ``skip_bad_files`` leaves out: all, since they may be what is looked for."""
    if facts:
        warn(
            f"{len(facts)} bad files or folders in {path} are skipped, and not among the sequences: {'; '.join(facts)}"
        )
