"""A run is opened from its folder alone: its model, its parameters and what its data are."""

import json
import os
import shutil

import jax
import numpy as np
import optax
import pytest
from helpers.saved_runs import arrays_config, save_run, write_frames

import zf_jax
from experiments.lib.experiment import initial_state
from zf_jax.averaging import Averaged, with_average
from zf_jax.data import DataError, from_arrays
from zf_jax.data.description import DataDescription
from zf_jax.evaluation.forecast import forecast
from zf_jax.runs.build import build_run_model
from zf_jax.runs.checkpoints import CheckpointError, Checkpoints, OtherModel
from zf_jax.runs.errors import RunError
from zf_jax.training import init_state, make_optimizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a run whose data are gone, and the experiment that it was."""
    folder = tmp_path_factory.mktemp("run")
    write_frames(folder / "arrays.npz")
    experiment = save_run(folder / "run", arrays_config(folder / "arrays.npz"))
    (folder / "arrays.npz").rename(folder / "gone.npz")
    return folder / "run", experiment


@pytest.fixture(scope="module")
def run(saved):
    return zf_jax.open_run(saved[0])


def test_a_run_opens_without_its_data_and_holds_what_was_saved(run, saved):
    workdir, experiment = saved
    assert run.model == experiment.model
    jax.tree.map(np.testing.assert_array_equal, run.params, initial_state(experiment).params)
    assert (run.step, run.path) == (0, workdir)
    assert run.config == json.loads(experiment.config.to_json())
    assert run.data == DataDescription.of(experiment.data)
    assert run.data.normalisation == experiment.data.normalisation


def test_arrays_in_their_own_unit_are_normalised_by_the_run_and_scored_in_their_order(run, saved):
    experiment = saved[1]
    rng = np.random.default_rng(3)
    rows = [rng.normal(100.0, 50.0, (length, 2)).astype(np.float32) for length in (2, 5, 3)]
    found = run.score(rows, per_step=True)
    moments = experiment.data.normalisation
    batch = zf_jax.batch_of([(row.astype(np.float64) - moments["mean"]) / moments["std"] for row in rows])
    keys = jax.vmap(lambda index: jax.random.fold_in(zf_jax.bounds.seed_key(0), index))(np.arange(3))
    terms = zf_jax.step_terms(run.model, run.params, batch, keys)
    for index, row in enumerate(rows):
        expected = (terms.emission_log_prob - terms.kl)[index, : len(row)]
        np.testing.assert_allclose(found.per_step[index], expected, rtol=2e-5)
        assert found.bound[index] == pytest.approx(found.per_step[index].sum(), rel=1e-5)
    assert found.lengths.tolist() == [2, 5, 3]
    raw = found.bound - np.array([2, 5, 3]) * 2 * np.log(moments["std"])
    assert [row["raw_nats_per_sequence"] for row in found.rows()] == pytest.approx(raw.tolist())
    assert found.lowest(2) == np.argsort(found.bound / found.lengths)[:2].tolist()
    with pytest.raises(DataError, match=r"values\[0\] is float32 \[2, 3\]"):
        run.score([np.zeros((2, 3), np.float32)])
    with pytest.raises(ValueError, match="only the elbo"):
        run.score(rows, bound="iwae", per_step=True)


def test_a_forecast_goes_on_from_sequences_in_the_unit_of_the_data(run, saved):
    moments = saved[1].data.normalisation
    rows = [np.random.default_rng(i).normal(100.0, 50.0, (length, 2)) for i, length in enumerate((2, 4))]
    found = run.forecast(rows, 3, num_samples=2, num_particles=4, seed=5)
    prefix = zf_jax.batch_of([(row - moments["mean"]) / moments["std"] for row in rows])
    options = {"length": 3, "num_samples": 2, "num_particles": 4, "chunk_size": 1}
    plain = forecast(run.model, run.params, prefix, zf_jax.bounds.seed_key(5), **options)
    assert found.shape == (2, 2, 3, 2)
    np.testing.assert_allclose(found, np.asarray(plain) * moments["std"] + moments["mean"], rtol=1e-5)
    with pytest.raises(DataError, match=r"values\[0\] is float32 \[2, 3\]"):
        run.forecast([np.zeros((2, 3), np.float32)], 3)
    with pytest.raises(ValueError, match="2 dimensions, not 3"):
        run.data.normalise(np.zeros((4, 3)))


def test_samples_are_in_the_unit_of_the_data(run, saved):
    moments = saved[1].data.normalisation
    found = run.sample(3, 4, seed=5)
    plain = zf_jax.sample(run.model, run.params, zf_jax.bounds.seed_key(5), num_samples=3, length=4).values
    assert found.text is None
    np.testing.assert_allclose(found.values, np.asarray(plain) * moments["std"] + moments["mean"], rtol=1e-6)


def test_parameters_are_read_without_the_optimiser_and_another_tree_is_called_so(saved):
    workdir, experiment = saved
    model = experiment.model
    like = jax.eval_shape(model.init, jax.random.key(0))
    with Checkpoints(workdir, create=False) as checkpoints:
        params = checkpoints.restore_params(like, 0)
        jax.tree.map(np.testing.assert_array_equal, params, initial_state(experiment).params)
        double = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, np.float64), like)  # as with jax_enable_x64
        jax.tree.map(np.testing.assert_array_equal, checkpoints.restore_params(double, 0), params)
        fewer = {name: part for name, part in like.items() if name != "prior"}
        with pytest.raises(OtherModel, match=r"is sound.*params/prior.*here absent"):
            checkpoints.restore_params(fewer, 0)
        # A rate that does not change with the step has no count; a part without arrays changes the tree alone.
        adam = optax.adam(optax.constant_schedule(1e-3))
        for optimizer, differs in (
            (make_optimizer(1e-3), "arrays differ, as opt_state"),
            (optax.chain(optax.clip_by_global_norm(1.0), adam, optax.identity()), "tree of another structure"),
        ):
            with pytest.raises(OtherModel, match=f"is sound.*{differs}"):
                checkpoints.restore(init_state(model, optimizer, jax.random.key(0)), 0)


@pytest.mark.parametrize("wrap", [lambda inner: inner, lambda inner: optax.chain(optax.clip(1.0), optax.chain(inner))])
def test_the_average_of_the_parameters_is_read_wherever_one_is_kept(saved, tmp_path, wrap):
    model = saved[1].model
    state = init_state(model, wrap(with_average(optax.adam(1e-3), 0.9)), jax.random.key(0))
    average = jax.tree.map(lambda x: 2 * x + 1, state.params)
    is_average = lambda node: isinstance(node, Averaged)  # noqa: E731
    changed = jax.tree.map(
        lambda x: x._replace(average=average) if is_average(x) else x, state.opt_state, is_leaf=is_average
    )
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state._replace(opt_state=changed), {})
        checkpoints.wait()
        found = checkpoints.restore_params(jax.eval_shape(model.init, jax.random.key(0)), 0)
        os.truncate(tmp_path / "checkpoints" / "0" / "state" / "_sharding", 50)  # says where the arrays lay
        again = checkpoints.restore_params(jax.eval_shape(model.init, jax.random.key(0)), 0)
    jax.tree.map(np.testing.assert_array_equal, found, average)
    jax.tree.map(np.testing.assert_array_equal, again, average)


def test_a_changed_description_or_parameter_is_damage(saved, tmp_path):
    shutil.copytree(saved[0], tmp_path / "run")
    file = next((tmp_path / "run" / "checkpoints" / "0" / "data_description").rglob("metadata"))
    found = json.loads(file.read_text())
    file.write_text(json.dumps(found | {"units": "pixel"}))
    with pytest.raises(CheckpointError, match=r"damaged.*data_description"):
        zf_jax.open_run(tmp_path / "run")


def test_a_run_without_a_description_opens_by_its_data_or_says_what_to_do(tmp_path):
    write_frames(tmp_path / "arrays.npz")
    experiment = save_run(tmp_path / "run", arrays_config(tmp_path / "arrays.npz"), described=False)
    assert zf_jax.open_run(tmp_path / "run").data == DataDescription.of(experiment.data)
    (tmp_path / "arrays.npz").rename(tmp_path / "moved.npz")
    with pytest.raises(RunError, match=r"older than descriptions.*does not exist.*pass their folder as data_dir"):
        zf_jax.open_run(tmp_path / "run")
    assert zf_jax.open_run(tmp_path / "run", data_dir=str(tmp_path / "moved.npz")).data.units == "step"
    write_frames(tmp_path / "other.npz", seed=1)
    with pytest.raises(RunError, match="not those"):
        zf_jax.open_run(tmp_path / "run", data_dir=str(tmp_path / "other.npz"))


def test_what_is_no_run_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(RunError, match="there is no run"):
        zf_jax.open_run(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(RunError, match="no checkpoint yet"):
        zf_jax.open_run(tmp_path)
    with pytest.raises(RunError, match="gs://bucket/run: only folders of a file system"):
        zf_jax.open_run("gs://bucket/run")
    with pytest.raises(ValueError, match="choose best or latest"):
        zf_jax.open_run(tmp_path, "newest")


def test_a_description_survives_json_and_words_come_back():
    data = from_arrays({"train": [[1, 2, 0]]}, observation=zf_jax.Observation("tokens", 3))
    described = DataDescription(**(vars(DataDescription.of(data)) | {"vocabulary": ("<eos>", "<unk>", "ad")}))
    again = DataDescription.from_json(json.loads(json.dumps(described.as_json() | {"younger": 1})))
    assert again == described
    assert again.detokenise([2, 2, 0, 2]) == "ad ad"
    with pytest.raises(ValueError, match="no description"):
        DataDescription.from_json({"name": "x"})


def test_a_config_older_than_an_option_builds_the_same_model(saved):
    config = json.loads(saved[1].config.to_json())
    older = json.loads(json.dumps(config))
    for name in ("per_dimension", "levels", "coding", "head_dim", "num_components", "prior_input", "posterior_input"):
        del older["model"][name]
    for name in ("emission_log_std_bounds", "latent_log_std_bounds"):
        del older["model"][name]
    assert build_run_model(older, saved[1].data) == build_run_model(config, saved[1].data)
