"""Sequences divided in time: no step is lost, none is in two splits, and names say which steps a piece has."""

import numpy as np
import pytest

from zf_jax import Observation
from zf_jax.data import DataError, from_arrays
from zf_jax.data.sources import names_of

SERIES = [np.arange(100.0)[:, None], 100 + np.arange(40.0)[:, None]]
TOKENS = Observation("tokens", 5)


def steps_of(data, split):
    source = data.split(split)
    moments = data.normalisation
    return {
        name: np.rint(source[index].targets * moments["std"] + moments["mean"]).astype(int).ravel().tolist()
        for index, name in enumerate(names_of(source) or ())
    }


def test_in_time_the_first_steps_train_and_the_last_test():
    data = from_arrays(SERIES, names=["a", "b"], split_by="time", valid_fraction=0.1, test_fraction=0.2)
    assert list(data.splits) == ["train", "valid", "test"]
    assert steps_of(data, "train") == {"a[0:70]": list(range(70)), "b[0:28]": list(range(100, 128))}
    assert steps_of(data, "valid") == {"a[70:80]": list(range(70, 80)), "b[28:32]": list(range(128, 132))}
    assert steps_of(data, "test") == {"a[80:100]": list(range(80, 100)), "b[32:40]": list(range(132, 140))}
    train = np.concatenate([np.arange(70), np.arange(100, 128)])
    assert data.normalisation == pytest.approx({"mean": train.mean(), "std": train.std()})


def test_training_reads_pieces_and_the_other_splits_are_whole():
    data = from_arrays(
        {"train": SERIES, "test": SERIES[1:]}, names={"train": ["a", "b"], "test": ["c"]}, piece_steps=30
    )
    train = steps_of(data, "train")
    assert list(train) == ["a[0:30]", "a[30:60]", "a[60:90]", "a[90:100]", "b[0:30]", "b[30:40]"]
    assert [step for steps in train.values() for step in steps] == [*range(140)]
    assert steps_of(data, "test") == {"c": [*range(100, 140)]}
    assert steps_of(data, "test_chunks") == {"c[0:30]": [*range(100, 130)], "c[30:40]": [*range(130, 140)]}
    later = from_arrays(SERIES[:1], names=["a"], split_by="time", piece_steps=6)
    assert list(steps_of(later, "test_chunks")) == ["a[90:96]", "a[96:100]"]


def test_a_sequence_as_long_as_a_piece_keeps_its_name_and_a_piece_without_a_scored_step_is_left_out():
    data = from_arrays({"train": [SERIES[0][:31], SERIES[0][:30]]}, protocol="srnn", piece_steps=30)
    assert names_of(data.split("train")) == ["0[0:30]", "1"]
    assert data.split("train").lengths.tolist() == [29, 29]


def test_pieces_of_tokens_begin_with_the_start_token():
    data = from_arrays({"train": [[4, 0, 2]]}, observation=TOKENS, piece_steps=2)
    found = [
        (example.inputs.tolist(), example.targets.tolist()) for example in map(data.split("train").__getitem__, (0, 1))
    ]
    assert found == [([5, 4], [4, 0]), ([5], [2])]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (dict(split_by="day"), "'sequence' or 'time', not 'day'"),
        (dict(split_by="time", values={"train": SERIES}), "'sequence' where values are given by split"),
        (dict(split_by="time", values=[*SERIES, SERIES[0][:2]]), r"values\[2\] has 2 steps, too few .* split_by='sequ"),
        (dict(split_by="time", values=[SERIES[0][:5]], protocol="srnn"), "5 steps, too few"),
        (dict(split_by="time", valid_fraction=0.5, test_fraction=0.5), "leave steps to train on"),
        (dict(split_by="time", valid_fraction=0.0), "must be above 0"),
        (dict(piece_steps=-1), "pieces of -1 steps"),
        (dict(piece_steps=1, protocol="srnn"), "pieces of 1 steps leave nothing to score"),
    ],
)
def test_what_cannot_be_divided_is_refused(arguments, match):
    with pytest.raises(DataError, match=match):
        from_arrays(**{"values": SERIES, **arguments})
