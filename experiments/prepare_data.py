"""Prepare a data set once: write the original files as array_record, in TFDS's layout, without TensorFlow.

    zf_jax prepare_data --name=timit --manual_dir=/data/TIMIT --data_dir=/data/tfds
    zf_jax prepare_data --name=mnist --data_dir=/data/tfds
    zf_jax prepare_data --name=audio_folder --manual_dir=talks --data_dir=/data/tfds \
        --options=split_by=speaker,sample_rate=16000

Afterwards pass ``--config.data.dir=/data/tfds`` to train.  Without --manual_dir, the public sets mnist, imdb, ljspeech
and librispeech are downloaded.  An interrupted preparation is never read: run the command again to prepare the set from
the start.  A prepared set is kept, and other files than its own are refused.  The counts of the prepared set are
printed as one JSON object on the last line.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from absl import flags

from experiments.lib import cli
from zf_jax import data

_NAME = flags.DEFINE_string("name", None, f"The data set: one of {', '.join(data.NAMES)}.")
_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "Folder of the original files.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder to prepare the set in: TFDS's data directory.")
_OPTIONS = flags.DEFINE_string(
    "options", "", "Options of the set, as in config.data: sample_rate=16000,split_by=speaker."
)
_SKIP_BAD_FILES = flags.DEFINE_bool("skip_bad_files", False, "Count and skip bad files.")
flags.mark_flags_as_required(["name", "data_dir"])


def main() -> None:
    """Prepare the set, read the set back, and print the counts."""
    assert _NAME.value is not None
    assert _DATA_DIR.value is not None
    options = dict(_option(item) for item in _items(_OPTIONS.value))
    path = data.prepare(
        _NAME.value,
        manual_dir=_MANUAL_DIR.value,
        data_dir=_DATA_DIR.value,
        skip_bad_files=_SKIP_BAD_FILES.value,
        **options,
    )
    if path is None:
        print(f"{_NAME.value} needs no preparing: the original files are read")
        where = _MANUAL_DIR.value
    else:
        print(f"prepared: {path}")
        where = _DATA_DIR.value
    for only_on_preparing in ("resample", "downmix"):
        options.pop(only_on_preparing, None)
    found = data.load(_NAME.value, data_dir=where, skip_bad_files=_SKIP_BAD_FILES.value, **options)
    print(cli.as_json(found.describe()))


def _items(options: str) -> list[str]:
    """Split ``options`` at commas outside brackets and quotes."""
    # Quotes or brackets may hold commas: image_shape=(2,3), speaker_pattern='a{1,2}'.
    pattern = r"""(?:[^,()\[\]'"]|\([^)]*\)|\[[^\]]*\]|'[^']*'|"[^"]*"|[()\[\]'"])+"""
    return re.findall(pattern, options)


def _option(item: str) -> tuple[str, Any]:
    name, equals, value = item.partition("=")
    if not equals:
        raise cli.UserError(f"--options must be NAME=VALUE pairs, not {item!r}")
    if name in ("name", "manual_dir", "data_dir", "skip_bad_files"):
        raise cli.UserError(f"--options cannot set {name}: use --{name}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


if __name__ == "__main__":
    cli.run(main, cli.prepare_flags_for)
