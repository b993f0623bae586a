"""The seasonal naive forecast repeats what a season repeats, and is scored beside the model on the same numbers."""

import numpy as np
import pytest

from experiments.lib.cli import UserError
from experiments.lib.forecast_scores import Forecasts, beside_given, beside_season, scores
from zf_jax.evaluation.crps import crps
from zf_jax.evaluation.seasonal import drawn_from_given, seasonal_naive

PATTERN = np.array([5.0, -2.0, 9.0])


def series(length, drift=1.0):
    steps = np.arange(length)
    return PATTERN[steps % 3] + drift * (steps // 3)


def test_a_season_with_a_constant_drift_is_continued_exactly_and_over_gaps():
    whole = series(20)
    given = whole[:11].copy()
    given[9] = np.nan  # of the last season, so that the season before it is taken, and two changes
    drawn = seasonal_naive(given, steps=9, season=3, num_samples=4)
    np.testing.assert_allclose(drawn, np.tile(whole[11:], (4, 1)))
    both = seasonal_naive(np.stack([given, 10 * given], axis=1), steps=9, season=3, num_samples=2)
    np.testing.assert_allclose(both[0], np.stack([whole[11:], 10 * whole[11:]], axis=1))


def test_changes_are_drawn_from_those_of_the_series_and_add_up():
    given = np.array([0.0, 0.0, 1.0, 3.0])  # season 2: the changes are 1 and 3
    drawn = seasonal_naive(given, steps=3, season=2, num_samples=3000, seed=1)
    assert set(drawn[:, 0]) == {2.0, 4.0}
    assert set(drawn[:, 2]) == {3.0, 5.0, 7.0}  # the sum of two
    assert drawn.mean(axis=0) == pytest.approx([3, 5, 5], abs=0.1)


def test_where_nothing_stood_a_season_before_nothing_is_drawn():
    drawn = seasonal_naive(np.array([[1.0, np.nan], [np.nan, 2.0], [3.0, np.nan]]), steps=2, season=2, num_samples=2)
    np.testing.assert_array_equal(drawn[0], [[np.nan, np.nan], [5.0, np.nan]])
    assert np.isnan(seasonal_naive(series(3), steps=2, season=3)).all()
    with pytest.raises(ValueError, match="season"):
        seasonal_naive(series(3), steps=2, season=0)


def test_drawn_from_given_are_the_numbers_of_each_dimension():
    given = np.array([[1.0, np.nan, 5.0], [2.0, np.nan, np.nan], [2.0, np.nan, 7.0]])
    drawn = drawn_from_given(given, steps=2, num_samples=3000)
    assert set(drawn[:, 1, 0]) == {1.0, 2.0}
    assert (set(drawn[..., 2].ravel()), np.isnan(drawn[..., 1]).all()) == ({5.0, 7.0}, True)
    assert drawn[:, :, [0, 2]].mean(axis=(0, 1)) == pytest.approx([5 / 3, 6], abs=0.1)
    assert drawn_from_given(given[:, 0], steps=2, num_samples=3).shape == (3, 2)


def test_scores_stand_beside_the_models_of_the_same_numbers():
    rng = np.random.default_rng(0)
    given = [np.stack([series(9), np.full(9, np.nan)], axis=1), np.stack([series(7), series(7, 2.0)], axis=1)]
    truth = rng.normal(size=(2, 4, 2))
    truth[1, 3] = np.nan
    draws = rng.normal(size=(2, 50, 4, 2))
    found = Forecasts(np.arange(2), None, given, draws, truth)
    beside = beside_season(found, 3, 0, ("a", "b"))["seasonal_naive"]
    there = np.isfinite(truth)
    there[0, :, 1] = False
    assert (beside["season"], beside["num_compared"]) == (3, there.sum())
    each = crps(np.moveaxis(draws, 1, 0), np.nan_to_num(truth))
    assert beside["crps_of_model"] == pytest.approx(each[there].mean())
    exact = np.stack([series(13)[9:], series(11)[7:]])  # all changes are alike: its CRPS is the absolute error
    error = np.abs(exact - truth[:, :, 0])[there[:, :, 0]]
    assert beside["crps_by_column"]["a"] == pytest.approx(error.mean())
    assert scores(found, ("a", "b"))["crps_by_column"]["b"] == pytest.approx(
        np.nanmean(np.where(truth == truth, each, np.nan)[..., 1])
    )
    zeros = scores(found._replace(truth=np.zeros_like(truth)))  # of real numbers, all 0 by chance
    assert zeros.keys() == scores(found).keys() >= {"coverage_50", "coverage_90"}
    assert "coverage_50" not in scores(found, binary=True)
    drawn = beside_given(found, 0, ("a", "b"))["drawn_from_given"]
    assert (drawn["num_compared"], drawn["crps_of_model"]) == (there.sum(), beside["crps_of_model"])
    with pytest.raises(UserError, match="no change over a season in beginnings of 9 steps"):
        beside_season(found, 20, 0)
