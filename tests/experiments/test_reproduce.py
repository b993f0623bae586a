"""The reproduction: what is finished is only read, and the report is made from its files alone."""

import re
import signal
import subprocess
import sys

import pytest
from helpers.browser import CHROMIUM, look_at
from helpers.results import write_result
from helpers.runs import ROOT, command, environment, run

from experiments import family
from experiments.lib import report, reproduction
from experiments.lib.cli import UserError
from experiments.lib.reproduction import run_part
from experiments.lib.table_rows import config_of, tables


@pytest.fixture
def written(tmp_path):
    """A report of three seeds of two rows, and of one seed of a third."""
    for seed in range(3):
        write_result(tmp_path, "kla", seed, -16.5 - 0.1 * seed, 6.0)
        write_result(tmp_path, "rnn", seed, -17.5 - 0.2 * seed, 0.0)
    write_result(tmp_path, "ours", 1, -17.0, 0.5)
    report.write_report(tmp_path, "timit")
    return tmp_path


def test_the_report_has_means_and_standard_errors_over_seeds(written):
    text = (written / "REPORT.md").read_text()
    (line,) = re.findall(r"\| kla \|.*", text)
    assert "-16.600 ± 0.058" in line
    (claim,) = re.findall(r".*kla - rnn.*", text)
    cells = [cell.strip() for cell in claim.split("|")]
    assert cells[3:8] == ["+1.1", "0.058", "3", "6 against 0", "yes"]


def test_an_unfinished_part_is_as_far_as_its_log_or_its_newest_checkpoint(written):
    for seed, step in ((3, 2), (4, 40)):
        folder = written / "runs" / "digits" / f"aux-seed{seed}"
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
        (folder / "config.json").write_text('{"train": {"num_steps": 3000}}')
        (folder / "metrics.jsonl").write_text('{"split": "train", "step": 10}\n')
    report.write_report(written, "timit")
    text = (written / "REPORT.md").read_text()
    assert "| digits: aux, seed 3 | 10 | 3,000 | none yet |" in text
    assert "| digits: aux, seed 4 | 40 | 3,000 | none yet |" in text


def test_the_grid_names_the_row_of_the_best_validation_and_not_of_the_best_test(tmp_path):
    for alpha, valid, test in (("0.0005", -17.0, -19.0), ("0.005", -18.0, -16.0)):
        row = f"zforcing_lr0.003_alpha{alpha}_beta0"
        figures = {f"valid.{bound}.nats_per_sequence": valid for bound in ("elbo", "iwae")}
        write_result(tmp_path, row, 0, test, 3.0, table="grid", **figures)
    report.write_report(tmp_path, "timit")
    (line,) = re.findall(
        r"\| zforcing with auxiliary cost, without annealing \|.*", (tmp_path / "REPORT.md").read_text()
    )
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[2:4] == ["zforcing_lr0.003_alpha0.0005_beta0", "2"] and cells[7] == "-19.000"


def test_every_row_of_the_grid_is_another_config():
    configs = {row: config_of("grid", row, "small", "timit", {}).to_json() for row in tables("timit")["grid"].rows}
    assert len(set(configs.values())) == len(configs) == 92
    objective = config_of("grid", "zforcing_lr0.001_kla_alpha0.0005_beta1", "small", "timit", {}).objective
    assert (objective.aux_weight, objective.reverse_weight, objective.kl_temperature_start) == (5e-4, 1.0, 0.2)


def test_latents_of_one_row_are_compared_with_the_state_of_another(tmp_path):
    for seed in range(2):
        write_result(
            tmp_path, "aux_0.0025", seed, -50.0, 3.0, table="2", **{"test.length_r2.drawn_latents": 0.9 - seed / 10}
        )
        write_result(tmp_path, "rnn", seed, -50.0, 0.0, table="2", **{"test.length_r2.state": 0.1})
    report.write_report(tmp_path, "timit")
    (line,) = re.findall(r".*latents carry sentence length.*", (tmp_path / "REPORT.md").read_text())
    assert "| +0.75 | 0.05 | 2 | 3 against 0 | yes |" in line


def test_the_worsening_of_the_elbo_is_compared_with_that_of_the_iwae_bound(tmp_path):
    for row, elbo, iwae in (("ours", -50.0, -49.0), ("aux_0.0025", -54.0, -50.5)):
        figures = {"test.elbo.nats_per_sequence": elbo, "test.iwae.nats_per_sequence": iwae}
        write_result(tmp_path, row, 0, elbo, 3.0, table="2", **figures)
    report.write_report(tmp_path, "timit")
    (line,) = re.findall(r".*IWAE bound worsens less.*", (tmp_path / "REPORT.md").read_text())
    assert "| +2.5 |" in line, "4 nats of the ELBO, 1.5 of the IWAE bound"


def test_a_claim_has_the_sign_of_its_text(tmp_path):
    """On MNIST annealing costs half a nat; on text the larger cost has more KL and a higher R²."""
    for row, elbo in (("ours", -80.5), ("kla", -81.0)):
        write_result(tmp_path, row, 0, elbo, 3.0, table="1-right", **{"test.elbo.nats_per_sequence": elbo})
    for row, kl, r2 in (
        ("ours", 0.1, {}),
        ("aux_0.005", 2.6, {"test.length_r2.drawn_latents": 0.8}),
        ("rnn", 0, {"test.length_r2.state": 0.1}),
    ):
        write_result(tmp_path, row, 0, -50.0, kl, table="2", **r2)
    report.write_report(tmp_path, "timit")
    text = (tmp_path / "REPORT.md").read_text()
    for claim, difference in (
        ("annealing lowers the bound on MNIST", "+0.5"),
        ("on text a larger cost raises the KL", "+2.5"),
        ("with a larger cost latents carry sentence length", "+0.7"),
    ):
        (line,) = re.findall(f".*{claim}.*", text)
        assert f"| {difference} |" in line, line


@pytest.mark.parametrize(
    "differences, expected",
    [
        # By the tables of Student's t: 2.920 for two degrees of freedom, 6.314 for one.
        ([2.93, 2.93 + 3**0.5, 2.93 - 3**0.5], "yes"),  # of standard error 1
        ([2.91, 2.91 + 3**0.5, 2.91 - 3**0.5], "no, not clear of 0"),
        ([-2.93, -2.93 + 3**0.5, -2.93 - 3**0.5], "no, the contrary"),
        ([6.32 + 1, 6.32 - 1], "yes"),
        ([6.31 + 1, 6.31 - 1], "no, not clear of 0"),
        ([1.0], "one seed, no verdict; the sign is as claimed"),
        ([-1.0], "one seed, no verdict; the sign is the other"),
    ],
)
def test_a_claim_shows_only_where_seeds_agree(differences, expected):
    assert report.verdict(differences) == expected


def test_the_published_numbers_stand_beside_their_rows():
    left = tables("timit")["1-left"]
    assert len(left.rows) == 10 and set(left.rows) == set(left.paper)
    assert set(tables("timit")["2"].rows) == {"rnn", *tables("timit")["2"].paper}
    assert tables("librispeech")["1-left"].paper == {}, "the paper has no number for this set"
    ours, aux = (config_of("2", row, "paper", "timit", {"imdb": "x"}).objective for row in ("ours", "aux_0.005"))
    assert (ours.aux_weight, aux.aux_weight, aux.kl_temperature_start) == (0.0, 0.005, 1.0)


def test_vrnn_learns_speech_at_a_rate_at_which_it_does_not_break():
    rates = {row: config_of("1-left", row, "small", "librispeech", {}).train.learning_rate for row in ("vrnn", "ours")}
    assert rates == {"vrnn": 1e-3, "ours": 2e-3}
    assert config_of("1-left", "vrnn", "paper", "librispeech", {}).train.learning_rate == 1e-3
    by_name = {
        row: family.get_config("librispeech.py", f"{row}_small").train.learning_rate
        for row in ("vrnn", "vrnn_i", "vrnn_gmm", "srnn", "rnn_gmm")
    }
    assert by_name == {"vrnn": 1e-3, "vrnn_i": 1e-3, "vrnn_gmm": 1e-3, "srnn": 2e-3, "rnn_gmm": 2e-3}
    assert family.get_config("imdb.py", "vrnn_small").train.learning_rate == 2e-3, "only speech"


@pytest.mark.parametrize("scale, steps", [("small", 500), ("paper", 16_000)])
def test_the_rows_of_mnist_differ_in_annealing_and_cost_alone(scale, steps):
    ours, kla, aux = (config_of("1-right", row, scale, "timit", {"mnist": "x"}) for row in ("ours", "kla", "aux"))
    assert (kla.objective.kl_temperature_start, kla.objective.kl_temperature_steps) == (0.2, steps)
    assert aux.objective.aux_weight > 0 == ours.objective.aux_weight == kla.objective.aux_weight
    kla.objective.update(kl_temperature_start=1.0, kl_temperature_steps=0)
    aux.objective.update(aux_weight=0.0, reverse_weight=0.0)
    assert ours.to_dict() == kla.to_dict() == aux.to_dict()


def test_a_wrong_table_is_refused_with_a_sentence(tmp_path):
    found = run("reproduce", "--table=7", f"--workdir={tmp_path}")
    assert found.returncode == 1 and "choose of 1, 2, 3, digits, grid" in found.stderr


def test_one_row_from_training_to_report_and_a_second_time_only_read(tmp_path, monkeypatch):
    row = "zforcing_lr0.003_alpha0.005_beta0.005_backward"
    part = "grid", row, 0, "smoke", tmp_path, "timit", {}, "the command"
    result = run_part(*part)
    assert result["config"]["objective"]["aux_gradient"] == "backward" and result["best_step"] == 2
    assert result["figures"]["test.iwae.nats_per_sequence"] < 0 < result["figures"]["valid.elbo.kl_nats_per_sequence"]
    monkeypatch.setattr(reproduction, "train", None)
    assert run_part(*part) == result
    (file,) = (tmp_path / "results").iterdir()
    written = file.read_text()
    file.write_text(written.replace('"batch_size": 4,', '"batch_size": 5,'))
    with pytest.raises(UserError, match=r"config.train.batch_size was 5 and is now 4; choose another --workdir, or"):
        run_part(*part)
    file.write_text(written)
    report.write_report(tmp_path, "timit")
    assert (
        f"| zforcing with auxiliary cost, without annealing, gradient mode backward | {row} | 1 | 1 |"
        in (tmp_path / "REPORT.md").read_text()
    )


@pytest.mark.parametrize("text", ['{"table": "dig', "[1, 2]", '{"table": "digits"}'])
def test_a_file_that_is_no_result_is_named(text, written):
    broken = written / "results" / "digits-ours-seed0.json"
    broken.write_text(text)
    for read in (
        lambda: report.write_report(written, "timit"),
        lambda: run_part("digits", "ours", 0, "smoke", written, "timit", {}, "the command"),
    ):
        with pytest.raises(UserError, match=rf"{broken.name} is no result of a row .*: remove it"):
            read()


@pytest.mark.parametrize("scale, number", [("smoke", 8), ("small", 2500), ("paper", 0)])
def test_a_scale_scores_so_many_sequences_and_0_is_all(scale, number, tmp_path, monkeypatch):
    asked = []

    def evaluate(*_, num_sequences, **__):
        asked.append(num_sequences)
        return {"step": 1, "num_sequences": 2501}

    monkeypatch.setattr(reproduction, "train", lambda *_: {"interrupted": False, "step": 1, "stopped_early": False})
    monkeypatch.setattr(reproduction, "restore", lambda _: None)
    monkeypatch.setattr(reproduction, "read_metrics", lambda _: [])
    monkeypatch.setattr(reproduction, "evaluate", evaluate)
    part = "digits", "rnn", 0, scale, tmp_path, "timit", {}, "the command"
    result = run_part(*part)
    assert asked == [number] * 4, "two splits, two bounds"
    if scale == "paper":
        assert run_part(*part) == result
    else:
        with pytest.raises(
            UserError, match=f"was scored on 2501 sequences, and other rows on at most {number}: choose"
        ):
            run_part(*part)


@pytest.mark.slow
def test_a_part_that_a_signal_stops_is_unfinished_in_the_report_and_goes_on(tmp_path):
    flags = ["--table=digits", "--rows=rnn", "--scale=small", f"--workdir={tmp_path}"]

    def interrupted_at_its_first_log_line():
        program = subprocess.Popen(
            command("reproduce", *flags),
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        lines = []
        for line in program.stdout:
            lines.append(line)
            if line.startswith("step "):
                program.send_signal(signal.SIGINT)
                break
        out, err = program.communicate(timeout=240)
        assert program.returncode == 1 and "run the same command again" in err
        (stopped,) = re.findall(r"stopped by a signal at step (\d+)", out)
        return "".join(lines), int(stopped)

    _, first = interrupted_at_its_first_log_line()
    assert f"| digits: rnn, seed 0 | {first} | 3,000 |" in (tmp_path / "REPORT.md").read_text()
    begun, second = interrupted_at_its_first_log_line()
    assert f"goes on from step {first} of 3000" in begun and second > first
    assert not (tmp_path / "results").exists(), "an unfinished part has no figures"


@pytest.mark.slow
def test_smoke_runs_every_table_and_a_second_time_only_reads(tmp_path):
    flags = ["--table=1,2,3,digits", "--figure=2", f"--workdir={tmp_path}"]
    again = [sys.executable, "-m", "experiments.reproduce", *flags]
    subprocess.run(again, check=True, timeout=600)
    names = {path.name for path in (tmp_path / "results").iterdir()}
    ran = [(name, table) for name, table in tables("timit").items() if name != "grid"]
    expected = {f"{name}-{row}-seed0.json" for name, table in ran for row in table.rows}
    assert names == expected
    assert "begins at" not in subprocess.run(again, check=True, capture_output=True, text=True, timeout=60).stdout
    if not CHROMIUM:
        pytest.skip("all ran; no Chromium on this machine to open the page in")
    seen = look_at(tmp_path / "report.html", 390)
    assert len(seen.pictures) > 10 and all(seen.pictures) and len(seen.seconds) == 5 and all(seen.seconds)
    assert seen.errors == [] and seen.content <= 390
