"""Prepare a data set once: from the original files to array_record, in TFDS's layout, without TensorFlow.

    python -m experiments.prepare_data --name=timit --manual_dir=/data/TIMIT --data_dir=/data/tfds
    python -m experiments.prepare_data --name=mnist --data_dir=/data/tfds
    python -m experiments.prepare_data --name=audio_folder --manual_dir=talks --data_dir=/data/tfds \
        --options=split_by=speaker,sample_rate=16000

Afterwards ``--config.data.dir=/data/tfds`` reads it.  Without --manual_dir, sets whose licence allows it are fetched
(mnist, imdb, ljspeech, librispeech).  An interrupted preparation leaves nothing that is read; running it again goes on
to the end, and a set that is whole is left as it is.  The counts of what was prepared are printed as one JSON object.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from absl import flags

from experiments.lib import cli
from zf_jax import data

_NAME = flags.DEFINE_string("name", None, f"The data set: one of {', '.join(data.NAMES)}.")
_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "The folder of the original files.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where to prepare it: TFDS's data directory.")
_OPTIONS = flags.DEFINE_string(
    "options", "", "Settings of the set, as in config.data: sample_rate=16000,split_by=speaker."
)
_SKIP_BAD_FILES = flags.DEFINE_bool("skip_bad_files", False, "Count and skip files that cannot be used.")
flags.mark_flags_as_required(["name", "data_dir"])


def main() -> None:
    """Prepare the set, read it back and print its counts."""
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
        print(f"{_NAME.value} needs no preparing: it is read as it lies")
        where = _MANUAL_DIR.value
    else:
        print(f"prepared: {path}")
        where = _DATA_DIR.value
    for only_on_preparing in ("resample", "downmix"):
        options.pop(only_on_preparing, None)
    found = data.load(_NAME.value, data_dir=where, skip_bad_files=_SKIP_BAD_FILES.value, **options)
    print(cli.as_json(found.describe()))


def _items(options: str) -> list[str]:
    """Return what stands between the commas that are in no brackets and no quotes."""
    # Quotes or brackets may hold commas: image_shape=(2,3), speaker_pattern='a{1,2}'.
    pattern = r"""(?:[^,()\[\]'"]|\([^)]*\)|\[[^\]]*\]|'[^']*'|"[^"]*"|[()\[\]'"])+"""
    return re.findall(pattern, options)


def _option(item: str) -> tuple[str, Any]:
    name, equals, value = item.partition("=")
    if not equals:
        raise cli.UserError(f"--options takes name=value pairs, and {item!r} has no =")
    if name in ("name", "manual_dir", "data_dir", "skip_bad_files"):
        raise cli.UserError(f"--options cannot set {name}: use --{name}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


if __name__ == "__main__":
    cli.run(main, cli.prepare_flags_for)
