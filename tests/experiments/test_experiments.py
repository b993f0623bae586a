"""The binaries as their users meet them: runs, resumes, interruptions, and wrong input refused with one sentence."""

import builtins
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.few import few
from helpers.runs import ROOT, command, environment, one_sentence, run, tiny_config, tiny_flags
from jax.experimental import multihost_utils

import zf_jax
from experiments.lib import run_folder, training_loop
from experiments.lib.cli import UserError, finite
from experiments.lib.diagnosis import diagnose
from experiments.lib.experiment import build
from experiments.lib.interpolation import interpolate
from experiments.lib.run_folder import restore
from experiments.lib.scoring import evaluate, result_name
from experiments.lib.stop_signal import StopSignal
from zf_jax.compiled import forget
from zf_jax.data import DataError, description
from zf_jax.data.registry import option_defaults
from zf_jax.objective import gradient
from zf_jax.runs.metrics import read_metrics


def params_of(workdir):
    return jax.device_get(restore(str(workdir), "latest").state)


@pytest.fixture
def traced_anew():
    """Compiled steps of the code as the test leaves it are not used by the tests that follow, nor theirs by it."""
    forget()
    yield
    forget()


WHOLE = {"train.num_steps": 40, "train.eval_every": 40}  # a validation draws pictures, which takes longest


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run of 40 updates, never interrupted; the tests that only read it share it."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    config = tiny_config(**WHOLE, **{"train.pictures": True})
    training_loop.train(config, str(workdir), profile=True)
    return workdir


def test_a_run_leaves_config_metrics_checkpoints_and_pictures(whole_run):
    assert json.loads((whole_run / "config.json").read_text())["model"]["rnn_dim"] == 8
    lines = read_metrics(whole_run)
    train = [line for line in lines if line["split"] == "train"]
    assert [line["step"] for line in train] == list(range(5, 41, 5))
    assert {"loss", "elbo_nats_per_sequence", "kl_nats_per_sequence", "grad_norm", "skipped_updates"} <= train[0].keys()
    np.testing.assert_allclose(train[0]["kl_temperature"], 0.2 + 0.8 * 4 / 30, rtol=1e-5)
    valid = [line for line in lines if line["split"] == "valid"]
    assert [line["step"] for line in valid] == [40]
    for name in ("samples", "reconstructions", "completions", "curves"):
        assert (whole_run / "samples" / f"{name}.png").stat().st_size > 1000
    assert list((whole_run / "profile").rglob("*.trace.json.gz"))
    # The best and the two latest are kept.
    assert {p.name for p in (whole_run / "checkpoints").iterdir() if p.is_dir()} <= {"20", "30", "40"}


def test_fit_in_a_thread_ends_where_the_program_ends(whole_run):
    experiment = build(tiny_config(**WHOLE))
    with ThreadPoolExecutor() as pool:
        fitted = pool.submit(
            zf_jax.fit,
            experiment.model,
            experiment.data,
            experiment.fit_settings(),
            optimizer=experiment.optimizer,
            schedules=experiment.schedules,
            objective=experiment.objective,
        ).result()
    jax.tree.map(np.testing.assert_array_equal, fitted.state, params_of(whole_run))
    untimed = [
        {k: v for k, v in line.items() if k not in ("steps_per_second", "learning_rate")}
        for line in read_metrics(whole_run)
    ]
    assert [{k: v for k, v in line.items() if k != "steps_per_second"} for line in fitted.history] == untimed


@pytest.mark.slow
def test_forty_updates_equal_twenty_and_a_fresh_process_and_twenty(whole_run, tmp_path):
    training_loop.train(tiny_config(**WHOLE | {"train.num_steps": 20}), str(tmp_path / "run"))
    second = run(
        "train",
        *tiny_flags(
            tmp_path / "run",
            **WHOLE | {"train.decay_steps": 0, "train.learning_rate": 1e-3, "train.clip_norm": 100.0},
        ),
    )
    assert second.returncode == 0, second.stderr
    assert "goes on from step 20" in second.stdout
    for a, b in zip(jax.tree.leaves(params_of(whole_run)), jax.tree.leaves(params_of(tmp_path / "run")), strict=True):
        np.testing.assert_array_equal(a, b)
    lines = [line for line in read_metrics(tmp_path / "run") if (line["split"], line["step"]) != ("valid", 20)]
    whole, parts = ([line["elbo_nats_per_sequence"] for line in of] for of in (read_metrics(whole_run), lines))
    assert whole == parts


def test_sigterm_saves_and_ends_well(tmp_path):
    flags = tiny_flags(tmp_path, **{"train.num_steps": 100_000, "train.eval_every": 100_000})
    with subprocess.Popen(
        command("train", *flags), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        wait_for_step(process, 25)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    stopped = int(rest.split("stopped by a signal at step ")[1].split(";")[0])
    assert newest(tmp_path) == stopped


@pytest.mark.slow  # ``python -m benchmarks.faults`` kills many more
def test_a_kill_costs_only_the_steps_since_the_last_checkpoint(tmp_path):
    flags = tiny_flags(tmp_path, **{"train.num_steps": 100_000, "train.eval_every": 100_000})
    with subprocess.Popen(
        command("train", *flags), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        reached = wait_for_step(process, 25)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert newest(tmp_path) >= reached - 20  # one checkpoint may still have been on its way to the disk
    done = training_loop.train(
        tiny_config(
            **{
                "train.num_steps": newest(tmp_path) + 1,
                "train.eval_every": 100_000,
                "train.learning_rate": 5e-3,
                "train.decay_steps": 2000,
                "train.clip_norm": 10.0,
            }
        ),
        str(tmp_path),
    )
    assert done["step"] == newest(tmp_path)
    steps = [line["step"] for line in read_metrics(tmp_path) if line["split"] == "train"]
    assert steps == sorted(set(steps))  # no step is told twice


def wait_for_step(process, step):
    limit = time.monotonic() + 180
    for line in process.stdout:
        if line.startswith("step ") and int(line.split()[1].rstrip(":")) >= step:
            return int(line.split()[1].rstrip(":"))
        assert time.monotonic() < limit
    raise AssertionError("the run ended early")


def newest(workdir):
    return max(int(p.name) for p in (Path(workdir) / "checkpoints").iterdir() if p.name.isdigit())


def test_a_restored_run_scores_as_its_folder_and_never_for_another_checkpoint(whole_run):
    run = restore(str(whole_run))
    settings = {"split": "valid", "bound": "iwae", "num_samples": 2}
    assert evaluate(str(whole_run), **settings, run=run) == evaluate(str(whole_run), **settings)
    with pytest.raises(ValueError, match="and another is asked for"):
        evaluate(str(whole_run), **settings, checkpoint="latest", run=run)


def test_an_evaluation_is_the_same_for_any_batch_size_and_is_written_down(whole_run):
    first = evaluate(str(whole_run), split="valid", bound="iwae", num_samples=2)
    written = json.loads((whole_run / "eval_valid_iwae-samples2.json").read_text())
    assert written == first
    config = json.loads((whole_run / "config.json").read_text())
    config["train"]["eval_batch_size"] = 7
    (whole_run / "config.json").write_text(json.dumps(config))
    second = evaluate(str(whole_run), split="valid", bound="iwae", num_samples=2, chunk_size=1)
    config["train"]["eval_batch_size"] = 64
    (whole_run / "config.json").write_text(json.dumps(config))
    np.testing.assert_allclose(first["nats_per_sequence"], second["nats_per_sequence"], rtol=1e-5)
    assert first["num_sequences"] == second["num_sequences"] == 250


def test_the_evaluate_and_sample_binaries_print_what_the_design_promises(whole_run):
    result = run("evaluate", f"--workdir={whole_run}", "--split=test", "--bound=elbo")
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout.strip().splitlines()[-1])
    assert printed["nats_per_sequence"] < 0
    assert {"split", "bound", "num_samples", "num_sequences", "nats_per_step", "kl_nats_per_sequence"} <= printed.keys()
    greedy = run("sample", f"--workdir={whole_run}", "--num_samples=4", "--length=70", "--greedy")
    assert greedy.returncode == 0, greedy.stderr
    with np.load(whole_run / "samples" / "samples.npz") as arrays:
        shapes = {name: arrays[name].shape for name in arrays}
        assert (arrays["samples"] == arrays["samples"][:1]).all()  # nothing is drawn
    steps = shapes["real"][1]
    assert shapes["samples"] == (4, 70)
    assert shapes["reconstructions"] == shapes["real"] == (4, steps)
    assert shapes["completions"] == (3, 4, steps)


def test_updates_that_are_never_finite_end_the_run_with_the_last_good_state(tmp_path, monkeypatch, traced_anew):
    real = gradient.loss_and_metrics

    def broken(*args, **kwargs):
        loss, metrics = real(*args, **kwargs)
        return loss * np.nan, metrics

    monkeypatch.setattr(gradient, "loss_and_metrics", broken)
    workdir = tmp_path / "run"
    config = tiny_config(**{"train.num_steps": 30, "train.max_skipped_in_a_row": 10, "train.log_every": 5})
    with pytest.raises(UserError, match="10 updates in a row were not finite"):
        training_loop.train(config, str(workdir))
    state = params_of(workdir)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert state.skipped_in_a_row >= 10


def poisoned(monkeypatch, bad):
    """Make every update after ``bad`` updates not finite, from its learning rate on."""
    real = gradient.loss_and_metrics

    def loss_and_metrics(model, params, batch, key, weights, settings, **options):
        loss, metrics = real(model, params, batch, key, weights, settings, **options)
        # The temperature is that of the step, and tells how far the run is.
        return loss + jax.numpy.where(weights.kl_temperature > bad, np.nan, 0.0), metrics

    monkeypatch.setattr(gradient, "loss_and_metrics", loss_and_metrics)


@pytest.mark.slow
def test_a_diverged_run_goes_on_from_its_best_validation_with_a_smaller_rate(tmp_path, traced_anew):
    workdir, changes = tmp_path / "run", {"train.num_steps": 40, "train.max_skipped_in_a_row": 10}
    changes |= {"train.eval_every": 10}
    with pytest.MonkeyPatch.context() as patch:
        poisoned(patch, 0.2 + 0.8 * 21.5 / 30)
        with pytest.raises(UserError, match=r"updates in a row.*newest checkpoint is now .* step [123]0, elbo"):
            training_loop.train(tiny_config(**changes), str(workdir))
    forget()
    assert newest(workdir) in (10, 20, 30)
    assert not list((workdir / "checkpoints").glob("3[1-9]"))
    with pytest.raises(UserError, match=r"config\.model\.rnn_dim was"):
        training_loop.train(tiny_config(**changes, **{"model.rnn_dim": 9}), str(workdir))
    smaller = tiny_config(**changes, **{"train.learning_rate": 1e-4, "train.clip_norm": 1.0})
    assert training_loop.train(smaller, str(workdir))["step"] == 40


@pytest.mark.slow
def test_a_run_whose_remaining_updates_were_all_skipped_says_so(tmp_path, monkeypatch, traced_anew):
    workdir = str(tmp_path / "run")
    training_loop.train(tiny_config(**{"train.num_steps": 10}), workdir)
    forget()
    poisoned(monkeypatch, -1.0)
    with pytest.raises(UserError, match="all 5 updates up to step 15 were skipped"):
        training_loop.train(tiny_config(**{"train.num_steps": 15}), workdir)


def test_figures_survive_a_file_that_cannot_be_written(whole_run, capsys):
    (whole_run / "eval_valid_elbo-sequences8.json").mkdir()
    assert evaluate(str(whole_run), split="valid", num_sequences=8)["nats_per_sequence"] < 0
    assert "warning: " in capsys.readouterr().err
    (whole_run / "eval_valid_elbo-sequences8.json").rmdir()


def test_an_evaluation_with_other_settings_is_another_file(whole_run):
    before = {path.name for path in whole_run.glob("eval_*")}
    first = evaluate(str(whole_run), split="valid", bound="elbo", num_sequences=4)
    second = evaluate(str(whole_run), split="valid", bound="elbo", num_sequences=4, seed=3, checkpoint="latest")
    assert first["nats_per_sequence"] != second["nats_per_sequence"]
    for result, name in ((first, "-sequences4"), (second, "-sequences4-seed3-latest")):
        assert json.loads((whole_run / f"eval_valid_elbo{name}.json").read_text()) == result
    assert {path.name for path in whole_run.glob("eval_*")} - before == {
        "eval_valid_elbo-sequences4.json",
        "eval_valid_elbo-sequences4-seed3-latest.json",
    }


def test_the_name_of_a_result_is_the_plain_one_for_default_settings_and_differs_for_all_others():
    others = [{"num_samples": 64}, {"num_sequences": 9}, {"seed": 1}, {"checkpoint": "latest"}, {"data_dir": "a"}]
    names = [result_name("test", "iwae", **one) for one in [*others, {"data_dir": "b"}, others[0] | others[2]]]
    assert result_name("test", "iwae") == "eval_test_iwae.json"
    assert names[0] == "eval_test_iwae-samples64.json"
    assert len({*names, "eval_test_iwae.json"}) == len(names) + 1


def refuse_to_write(monkeypatch, folder):
    """Let every attempt to write below a folder fail as on a read-only file system, for root too."""

    def guarded(real):
        def call(path, *arguments, **options):
            mode = next((a for a in (*arguments, options.get("mode")) if isinstance(a, str)), "r")
            writes = real.__name__ in ("mkdir", "replace") or set(mode) & set("wax+")
            if writes and str(path).startswith(str(folder)):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return real(path, *arguments, **options)

        return call

    for module, name in ((io, "open"), (builtins, "open"), (os, "mkdir"), (os, "replace")):
        monkeypatch.setattr(module, name, guarded(getattr(module, name)))


def test_a_run_that_cannot_be_written_is_evaluated_diagnosed_and_interpolated_all_the_same(
    whole_run, tmp_path, monkeypatch, capsys
):
    there, printed = tmp_path / "out", []
    refuse_to_write(monkeypatch, whole_run)
    evaluate(str(whole_run), split="valid", num_sequences=8, seed=5, report=printed.append)
    diagnose(str(whole_run), num_sequences=8, num_mutual=0, report=printed.append)
    interpolate(str(whole_run), num_points=2, report=printed.append)
    assert printed[0]["nats_per_sequence"] < 0
    assert "kl_nats_per_dimension" in printed[1]
    assert len(printed[2]["greedy"]) == 2
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 3
    assert all("Read-only file system" in line for line in warnings)
    interpolate(str(whole_run), num_points=2, out=str(there))
    assert {path.suffix for path in there.iterdir()} == {".json", ".png"}


def test_what_is_not_finite_becomes_null_with_a_reason():
    found = finite({"a": float("nan"), "b": [1.0, float("inf")], "c": {"d": -float("inf")}, "e": 2.0})
    assert found == {"a": None, "b": [1.0, None], "c": {"d": None}, "e": 2.0, "not_finite": ["a", "b", "c.d"]}
    assert finite({"a": 1.0}) == {"a": 1.0}


def test_a_damaged_config_or_metrics_file_costs_a_sentence(whole_run, tmp_path, capsys):
    damaged = tmp_path / "run"
    shutil.copytree(whole_run, damaged)
    for text in ('{"model": ', "[" * 100_000, '{"train": {"num_steps": "many"}}', "null"):
        (damaged / "config.json").write_text(text)
        assert run_folder.read_config(str(damaged)).train.num_steps == 40
        assert "config.json" in capsys.readouterr().err
    with (damaged / "metrics.jsonl").open("ab") as file:
        file.write(b'3\n{"split": "train"}\n\xff\xfe\n{"step": 4')
    assert training_loop.train(tiny_config(**{"train.num_steps": 41}), str(damaged))["step"] == 41
    assert json.loads((damaged / "config.json").read_text())["train"]["num_steps"] == 41


def test_an_option_of_the_data_that_is_younger_than_a_run_is_its_default_there(tmp_path):
    config = tiny_config()
    assert "view" not in config.data and option_defaults("digits") == {"view": "pixels"}
    with run_folder.opened(str(tmp_path / "run"), config):
        pass
    config.data.view = "rows"
    changed = pytest.raises(UserError, match=r"config\.data\.view was 'pixels' and is now 'rows'")
    with changed, run_folder.opened(str(tmp_path / "run"), config):
        pass
    config.data.view = "pixels"
    with run_folder.opened(str(tmp_path / "run"), config):
        assert run_folder.read_config(str(tmp_path / "run")).data.view == "pixels"


def test_a_second_signal_ends_the_program_at_once_but_never_during_a_save():
    script = (
        "import os, signal; from experiments.lib.stop_signal import StopSignal\n"
        "with StopSignal() as stop:\n"
        "    stop.listen()\n"
        "    with stop.saving():\n"
        "        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM): os.kill(os.getpid(), number)\n"
        "    print('saved', stop.requested(1), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('never')\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (130, "saved True\n")
    assert "second signal" in one_sentence(result)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"train.batch_size": 0}, "batch_size must be at least 1"),
        ({"train.batch_size": -3}, "batch_size must be at least 1"),
        ({"train.learning_rate": float("nan")}, "learning_rate must be a finite number above 0"),
        ({"train.learning_rate": float("inf")}, "learning_rate"),
        ({"train.num_steps": 0}, "num_steps must be at least 1"),
        ({"model.name": "transformer"}, "unknown model"),
        ({"model.emission": "gaussian"}, "gaussian emission needs frames"),
        ({"model.emission": "poisson"}, "unknown emission"),
        ({"model.latent_dim": 0}, "latent_dim must be at least 1"),
        ({"objective.aux_weight": float("nan")}, "aux_weight must be a finite number"),
        ({"objective.aux_gradient": "both"}, "aux_gradient must be"),
        ({"data.name": "nonesuch"}, "nonesuch"),
        ({"model.emission": "dmol"}, "needs audio"),
        ({"train.max_skipped_in_a_row": 0}, "max_skipped_in_a_row must be at least 1"),
        ({"objective.kl_temperature_steps": -5}, "kl_temperature_steps must be at least 0"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises((UserError, DataError), match=message):
        training_loop.train(tiny_config(**change), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_workdir_of_another_run_says_what_differs_and_is_left_alone(whole_run):
    before = (whole_run / "config.json").read_bytes()
    with pytest.raises(UserError, match=r"config\.model\.rnn_dim was 8 and is now 9"):
        training_loop.train(tiny_config(**{"train.num_steps": 40, "model.rnn_dim": 9}), str(whole_run))
    assert (whole_run / "config.json").read_bytes() == before


def test_a_second_run_is_kept_out_of_a_workdir_in_which_one_trains(whole_run):
    with run_folder.opened(str(whole_run), tiny_config(**{"train.num_steps": 40})):
        before = (whole_run / "config.json").read_bytes()
        with pytest.raises(UserError, match="another run is training"):
            training_loop.train(tiny_config(**{"train.num_steps": 50}), str(whole_run))
        assert (whole_run / "config.json").read_bytes() == before
    training_loop.train(tiny_config(**{"train.num_steps": 40}), str(whole_run))  # given back


def test_a_run_older_than_a_field_has_its_default_and_goes_on(tmp_path):
    with run_folder.opened(str(tmp_path), tiny_config()):
        path = tmp_path / "config.json"
    older = json.loads(path.read_text())
    del older["train"]["updates_per_call"]
    older["notes"] = "mine"
    path.write_text(json.dumps(older))
    found = run_folder.read_config(str(tmp_path))
    assert (found.train.updates_per_call, found.model.rnn_dim, found.notes) == (1, 8, "mine")
    del older["notes"]
    path.write_text(json.dumps(older))
    with run_folder.opened(str(tmp_path), tiny_config()):
        pass
    path.write_text('{"model": null}')
    with pytest.raises(UserError, match="is no config"):
        run_folder.read_config(str(tmp_path))


def test_every_step_is_asked_for_once_where_processes_agree_on_one(monkeypatch):
    asked = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", lambda step: asked.append(step) or step == 8)
    stop = StopSignal()
    assert [stop.requested(step) for step in (5, 6, 9)] == [False, False, True]
    assert asked == [5, 6, 7, 8, 9]


def test_other_data_of_the_same_shapes_do_not_pass_for_the_runs_own(whole_run, monkeypatch):
    real = description.fingerprint
    monkeypatch.setattr(description, "fingerprint", lambda data: real(data) | {"training_steps": 1})
    message = r"not those that the run was trained on: training_steps was 83008 and is 1"
    with pytest.raises(UserError, match=message):
        evaluate(str(whole_run))
    with pytest.raises(UserError, match=message):
        training_loop.train(tiny_config(**{"train.num_steps": 41}), str(whole_run))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"split": "dev"}, "no split 'dev'"),
        ({"bound": "best"}, "unknown bound"),
        ({"bound": "iwae", "num_samples": 0}, "num_samples"),
    ],
)
def test_an_evaluation_that_makes_no_sense_is_refused(whole_run, options, message):
    with pytest.raises((UserError, DataError), match=message):
        evaluate(str(whole_run), **options)


def test_an_empty_folder_is_no_run(tmp_path):
    with pytest.raises(UserError, match="there is no run"):
        evaluate(str(tmp_path))


def test_a_damaged_newest_checkpoint_is_named_and_the_run_goes_on_from_the_one_before(whole_run, tmp_path, capsys):
    damaged = tmp_path / "run"
    shutil.copytree(whole_run, damaged)
    for path in (damaged / "checkpoints" / "40" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert evaluate(str(damaged), checkpoint="latest", split="valid", num_sequences=8)["step"] == 30
    assert "checkpoints/40 is damaged" in capsys.readouterr().err
    assert training_loop.train(tiny_config(**{"train.num_steps": 40}), str(damaged))["step"] == 40
    told = capsys.readouterr()
    assert "goes on from step 30" in told.out
    assert "checkpoints/40 is damaged" in told.err
    for a, b in zip(jax.tree.leaves(params_of(whole_run)), jax.tree.leaves(params_of(damaged)), strict=True):
        np.testing.assert_array_equal(a, b)


WRONG = [
    ("train", ["--config=experiments/configs/nonesuch.py", "--workdir=/tmp/none"], "nonesuch.py"),
    ("evaluate", ["--workdir=/nonexistent"], "there is no run in /nonexistent"),
    ("sample", ["--workdir=/nonexistent", "--temperature=0"], "--temperature must be above 0"),
]


@pytest.mark.parametrize("name, flags, message", few(WRONG, WRONG[1]))  # a config: in test_command.py
def test_wrong_flags_end_with_one_sentence_and_a_status(name, flags, message):
    result = run(name, *flags)
    one_sentence(result)
    assert message in result.stderr
