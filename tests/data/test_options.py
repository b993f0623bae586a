"""Options of data sets: one that no set has, or of the wrong type, is refused by its name before anything is read."""

import inspect

import pytest

from zf_jax.data import NAMES, DataError, load, prepare, registry
from zf_jax.data.options import check_options
from zf_jax.data.speech.dataset import SAMPLE_RATES, stored_name

WRONG = {bool: [3, "yes", None], int: ["abc", 1.5, True, 2**63], float: ["abc", True, float("nan"), {}], str: [3, True]}


def wrong_options():
    """Every option with a default of each set's loader, with values of other types."""
    for name in NAMES:
        for option, parameter in inspect.signature(
            registry._function(registry.DATA_SETS[name].load)
        ).parameters.items():
            if option != "name":
                yield from ((name, option, value) for value in WRONG.get(type(parameter.default), ()))


def test_an_option_of_the_wrong_type_is_refused_by_its_name_whatever_the_set():
    tried = list(wrong_options())
    assert len({option for _, option, _ in tried}) > 8
    for name, option, value in tried:
        with pytest.raises(DataError, match=rf"^{option} must be "):
            load(name, data_dir="/nonexistent", **{option: value})


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("images", {"nonesuch": 3}, "has no option 'nonesuch': it takes image_shape, prefix"),
        ("images", {"prefix": 3}, "prefix must be a text"),
        ("mnist", {"view": "rows"}, "has no option 'view'"),  # which is chosen on reading
        ("text_folder", {"nonesuch": 3}, "has no option 'nonesuch'"),
        ("text_folder", {"vocabulary_size": "abc"}, "vocabulary_size must be a whole number"),
        ("text_folder", {"max_words": 2.5}, "max_words must be a whole number"),
        ("text_folder", {"valid_fraction": "half"}, "valid_fraction must be a number"),
        ("audio_folder", {"nonesuch": 3}, "has no option 'nonesuch'"),
        ("audio_folder", {"sample_rate": "abc"}, "sample_rate must be a whole number"),
        ("audio_folder", {"speaker_pattern": 3}, "speaker_pattern must be a text"),
        ("audio_folder", {"downmix": "yes"}, "downmix must be True or False"),
    ],
)
def test_a_wrong_option_is_refused_on_preparing_and_nothing_is_written(name, options, message, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("A film.")
    with pytest.raises(DataError, match=message):
        prepare(name, manual_dir=str(tmp_path / "files"), data_dir=str(tmp_path / "data"), **options)
    assert not (tmp_path / "data").exists()


def test_the_right_types_pass():
    check_options("mine", {"a": 1, "b": 2, "c": "x", "d": True}, {"a": 0, "b": 0.5, "c": "", "d": False, "e": None})
    for name in SAMPLE_RATES:
        assert stored_name(name, {"sample_rate": 8000, "split_seed": 3} if name != "blizzard" else {}).startswith(name)


def test_an_address_of_a_store_is_refused_and_no_folder_of_its_name_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("A film.")
    with pytest.raises(DataError, match="gs://bucket is no folder of a file system"):
        load("text_folder", data_dir="gs://bucket")
    with pytest.raises(DataError, match="s3://bucket is no folder"):
        prepare("text_folder", manual_dir=str(tmp_path), data_dir="s3://bucket")
    with pytest.raises(DataError, match="gs://cache is no folder"):
        load("text_folder", data_dir=str(tmp_path), cache_dir="gs://cache")
    monkeypatch.setenv("ZF_JAX_CACHE", "gs://cache")
    with pytest.raises(DataError, match="gs://cache is no folder"):
        load("text_folder", data_dir=str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_digits_are_not_taken_for_the_data_of_a_folder():
    with pytest.raises(DataError, match="/data/mine is not read: digits are scikit-learn's: leave out the folder"):
        load("digits", data_dir="/data/mine")
    assert len(load("digits").split("test")) == 250
