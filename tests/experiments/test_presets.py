"""Presets: the family at SRNN's number of parameters, counted by hand here, and the mixtures' options in a config."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import numpy as np
import pytest
from helpers.few import few

from experiments import family
from experiments.configs.family import PLAIN, RNN_DIMS, ROWS
from experiments.lib.cli import UserError
from experiments.lib.experiment import build, build_config_model
from zf_jax.emissions import DiscretisedLogistics, GaussianMixture

FILES = tuple(RNN_DIMS)
SPEECH_FILES = ("timit.py", "blizzard.py", "librispeech.py", "ljspeech.py", "audio_folder.py")
MODELS = {"srnn", "zforcing", "storn", "vrnn", "vrnn_i", "rnn", "dmm"}


def count_by_hand(config, rnn_dim):
    """The sizes of all kernels and biases, added up from the equations of each model."""
    sizes, fields = config.model, config.data
    h, z, m, e = rnn_dim, sizes.latent_dim, sizes.mlp_dim, sizes.embed_dim

    def linear(inputs, outputs):
        return inputs * outputs + outputs

    def lstm(inputs):
        return 4 * (h * inputs + h * h + h)

    def gru(inputs):
        return 3 * (h * inputs + h * h + h)

    def gaussian(inputs, outputs):  # f_p, f_q, f_a: a hidden layer, then a mean and a log standard deviation
        return linear(inputs, m) + 2 * linear(m, outputs)

    if fields.name == "mnist":
        embedding, outputs = 3 * e, 1  # two values of a pixel and the start token; one logit
    elif "vocabulary_size" in fields:
        embedding, outputs = (fields.vocabulary_size + 1) * e, fields.vocabulary_size
    elif "frame_size" in fields:
        d = fields.frame_size
        embedding, outputs = linear(d, e), 20 + 2 * 20 * d if sizes.emission == "gmm" else 2 * d
    else:
        embedding, outputs = linear(88, e), 88
    through_z = linear(h + z, m) + linear(m, outputs)  # f_o with a hidden layer, where z reaches the output
    vrnn = embedding + linear(z, m) + lstm(e + m) + gaussian(h + e, z) + through_z
    return {
        "rnn": embedding + lstm(e) + linear(h, outputs),
        "storn": embedding + lstm(e) + linear(z, m) + lstm(e + m) + gaussian(h, z) + linear(h, outputs),
        "vrnn": vrnn + gaussian(h, z),
        "vrnn_i": vrnn,
        "srnn": embedding + gru(e) + gru(h + e) + 2 * gaussian(h + z, z) + through_z,
        "dmm": embedding
        + (lstm(e) + linear(z, h) + 2 * linear(h, z))  # posterior: the backward recurrence, the combiner, the heads
        + (linear(z, 2 * m) + 2 * linear(m, z) + 2 * linear(z, z))  # the gated transition
        + (linear(z, m) + linear(m, outputs)),
        "zforcing": embedding
        + lstm(e)
        + linear(z, m)
        + lstm(e + m)
        + (gaussian(h, z) + gaussian(2 * h, z) + gaussian(z, h))  # prior, posterior, auxiliary
        + 2 * linear(h, outputs),  # emission and reverse prediction
    }[sizes.name]


@pytest.mark.parametrize("file", few([*FILES], "timit.py", "mnist.py", "imdb.py"))
def test_every_preset_has_the_rnn_dim_whose_count_is_nearest_to_srnns(file):
    plain = family.get_config(file, "")
    srnn = family.get_config(file, "srnn")
    assert (srnn.model.name, srnn.model.rnn_dim) == ("srnn", plain.model.rnn_dim), "SRNN has the config's own sizes"
    target = count_by_hand(srnn, srnn.model.rnn_dim)
    for variant in RNN_DIMS[file]:
        config = family.get_config(file, variant)
        written = config.model.rnn_dim
        nearest = min(range(1, 4 * srnn.model.rnn_dim), key=lambda h: abs(count_by_hand(config, h) - target))
        assert written == nearest, f"{file}:{variant}"
        assert abs(count_by_hand(config, written) / target - 1) < 0.01, f"{file}:{variant}"


@pytest.mark.parametrize("file", FILES)
def test_a_preset_changes_the_model_and_nothing_else(file):
    plain = family.get_config(file, "")
    assert plain.model.name == "zforcing"
    assert set(RNN_DIMS[file]) == MODELS | ({"vrnn_gmm", "rnn_gmm"} if file in SPEECH_FILES else set())
    for variant in RNN_DIMS[file]:
        config = family.get_config(file, variant)
        assert config.model.name + ("_gmm" if config.model.emission == "gmm" else "") == variant
        with config.unlocked():
            config.model.update({name: plain.model[name] for name in ("name", "emission", "rnn_dim")})
        assert config.to_dict() == plain.to_dict()
        small, of_model = (family.get_config(file, name) for name in ("small", f"{variant}_small"))
        with of_model.unlocked():
            of_model.model.update({name: small.model[name] for name in ("name", "emission")})
        assert small.model == of_model.model


@pytest.mark.slow
def test_the_command_prints_what_the_library_builds(capsys):
    """Its numbers are the library's; the presets above were judged by those that were added up by hand."""
    family.main()
    _, *lines = capsys.readouterr().out.splitlines()
    printed, files = {}, []
    for indented, group in itertools.groupby(lines, key=lambda line: line.startswith(" ")):
        if not indented:
            files = next(iter(group)).split(", ")
            continue
        rows = [line.replace(",", "").split() for line in group]
        printed |= {(f, variant): (int(h), int(n), float(ratio)) for f in files for variant, h, n, ratio in rows}
    assert set(printed) == {(file, variant) for file in FILES for variant in (*RNN_DIMS[file], "(none)")}
    for (file, variant), (rnn_dim, parameters, ratio) in printed.items():
        config, srnn = (family.get_config(file, v) for v in (variant.replace("(none)", ""), "srnn"))
        assert rnn_dim == config.model.rnn_dim
        assert parameters == count_by_hand(config, rnn_dim), (file, variant)
        assert ratio == pytest.approx(parameters / count_by_hand(srnn, srnn.model.rnn_dim), abs=1e-4)


# Annealing, alpha and beta, or not: as the paper's tables have the rows of Z-Forcing.
PAPER = {"ours": (False, False), "kla": (True, False), "aux": (False, True), "kla_aux": (True, True)}
PAPER |= {"aux_0.0025": (False, 0.0025), "aux_0.005": (False, 0.005)}


@pytest.mark.parametrize("file, row", [(file, row) for file in FILES for row in ROWS[file]])
@pytest.mark.parametrize("size", ["", "_small"])
def test_a_row_of_the_paper_sets_annealing_and_the_two_weights_and_nothing_else(file, row, size):
    config = family.get_config(file, row + size)
    plain = family.get_config(file, size.removeprefix("_"))
    found, (anneals, weight) = config.objective, PAPER[row]
    assert (found.kl_temperature_start, found.kl_temperature_steps > 0) == ((0.2, True) if anneals else (1.0, False))
    assert (found.aux_weight > 0, found.reverse_weight > 0) == (bool(weight), bool(weight))
    if isinstance(weight, float):
        assert (found.aux_weight, found.reverse_weight) == (weight, weight)
    assert config.to_dict() | {"objective": None} == plain.to_dict() | {"objective": None}


def test_the_plain_configs_are_rows_of_the_paper():
    for file, rows in ROWS.items():
        if rows:
            row = PLAIN.get(file, "kla_aux")
            assert family.get_config(file, "").to_dict() == family.get_config(file, row).to_dict()


@pytest.mark.parametrize("file", FILES)
def test_a_wrong_variant_is_told_all_that_there_are(file):
    with pytest.raises(ValueError, match="has no variant 'gru'") as refused:
        family.get_config(file, "gru")
    names = (*ROWS[file], *RNN_DIMS[file])
    for choice in ("small", *names, *(f"{name}_small" for name in names)):
        assert f"{file}:{choice}" in str(refused.value)
        assert family.get_config(file, choice) is not None
    assert ("gmm" in str(refused.value)) == (file in SPEECH_FILES)


def emission_of(audio, **settings):
    """The emission of the model that a config with these model settings names."""
    config, loaded = audio
    changed = config.copy_and_resolve_references()
    changed.model.update(settings)
    return build_config_model(changed, loaded).emission


def raw_samples(audio):
    """Every sample of the test split, as the integers that stood in its files, and as the model sees them."""
    loaded = audio[1]
    seen = np.concatenate([loaded.splits["test"][i].targets.ravel() for i in range(len(loaded.splits["test"]))])
    return np.rint(seen * loaded.normalisation["std"] + loaded.normalisation["mean"]).astype(int), seen


@pytest.mark.parametrize("name, own", [("gmm", 20), ("dmol", 10)])
def test_the_number_of_components_of_a_config_reaches_the_emission(audio, name, own):
    assert emission_of(audio, emission=name).num_components == own
    assert emission_of(audio, emission=name, num_components=3).num_components == 3


def test_components_of_a_frame_or_of_every_dimension(audio):
    shared = emission_of(audio, emission="gmm", num_components=3)
    per_dimension = emission_of(audio, emission="gmm", num_components=3, per_dimension=True)
    assert isinstance(shared, GaussianMixture)
    assert (shared.outputs["logits"], per_dimension.outputs["logits"]) == (3, 3 * 200)


def test_levels_of_a_config_cover_the_scale_of_16_bits(audio):
    integers, seen = raw_samples(audio)
    assert (integers.min(), integers.max()) == (-32768, 32767)
    fine, coarse = (emission_of(audio, emission="dmol", levels=levels) for levels in (65536, 256))
    assert isinstance(fine, DiscretisedLogistics)
    assert (fine.levels, coarse.levels) == (65536, 256)
    assert coarse.step == pytest.approx(256 * fine.step, rel=1e-12)
    np.testing.assert_array_equal(fine.integers(seen), integers)
    bins = np.asarray(coarse.integers(seen))
    assert np.abs(256 * bins - np.minimum(integers, 256 * 127)).max() <= 128
    assert (bins.min(), bins.max()) == (-128, 127)


def test_the_coding_of_a_config_reaches_the_emission(audio):
    codings = {coding: emission_of(audio, emission="dmol", coding=coding).coding for coding in ("linear", "mu_law")}
    assert codings == {"linear": "linear", "mu_law": "mu_law"}
    assert emission_of(audio, emission="dmol").coding == "linear"


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"emission": "dmol", "levels": 0}, "config.model.levels must divide 65536, as 256 does for 8 bits: 0"),
        ({"emission": "dmol", "levels": -256}, "config.model.levels must divide 65536, as 256 does for 8 bits: -256"),
        ({"emission": "dmol", "levels": 255}, "config.model.levels must divide 65536, as 256 does for 8 bits: 255"),
        ({"emission": "dmol", "coding": "a_law"}, "coding must be 'linear' or 'mu_law', not 'a_law'"),
        ({"emission": "dmol", "num_components": 0}, "num_components must be at least 1, not 0"),
        ({"emission": "gmm", "num_components": 0}, "num_components must be at least 1, not 0"),
    ],
)
def test_options_of_a_mixture_that_make_no_sense_are_refused_with_a_sentence(audio, settings, sentence):
    config = audio[0].copy_and_resolve_references()
    config.model.update(settings)
    with pytest.raises(UserError, match=f"^{sentence}$"):
        build(config)


def test_an_option_that_an_error_of_speech_names_is_a_field_of_a_config():
    called = [
        node
        for path in (Path(__file__).parents[2] / "zf_jax" / "data" / "speech").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Option"
    ]
    named = {ast.literal_eval(node.args[0]) for node in called}
    assert {"downmix", "resample", "split_by"} <= named
    fields = {name for file in SPEECH_FILES for name in family.get_config(file, "").data}
    assert named <= fields
