"""The fields that every config has, with their defaults; a config file fills in its data set and its sizes."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict, config_dict


def get_base() -> Any:
    """A config whose fields are all there; only their values may change from here on."""
    config: Any = ConfigDict()  # a type checker cannot know its fields
    config.seed = 0

    config.model = ConfigDict()
    config.model.name = "zforcing"  # zforcing, rnn, ...; see zf_jax/models
    config.model.emission = ""  # the data's own, or bernoulli, categorical, gaussian, nade, ...
    config.model.rnn_dim = 1024
    config.model.latent_dim = 256
    config.model.mlp_dim = 512
    config.model.embed_dim = 512
    config.model.num_layers = 1  # rnn: LSTMs on top of each other
    config.model.emission_layers = ()
    config.model.num_components = config_dict.placeholder(int)  # of gmm and dmol; None for the emission's own
    config.model.per_dimension = False  # gmm: every dimension of a frame chooses a component of its own
    config.model.levels = 65536  # dmol: how many integers; 256 for audio of 8 bits
    config.model.coding = "linear"  # dmol: the logistics' axis; or mu_law
    config.model.head_dim = 128  # nade and made: hidden units
    config.model.prior_input = False  # rule A4
    config.model.posterior_input = False
    config.model.aux_input = "latent"  # rule A2; or hidden_and_latent
    config.model.latent_log_std_bounds = (-7.0, 5.0)  # rule A5
    config.model.emission_log_std_bounds = (-7.0, 5.0)
    config.model.aux_log_std_bounds = (-5.0, 5.0)

    config.data = ConfigDict()
    config.data.name = ""
    config.data.dir = ""  # the folder of the data, where they do not come with a package

    config.train = ConfigDict()
    config.train.num_steps = 1000
    config.train.batch_size = 32
    config.train.accumulate = 1  # pieces that a batch is cut into, one in memory after another
    config.train.updates_per_call = 1  # of the device, where small updates leave it waiting for the host
    config.train.learning_rate = 1e-3
    config.train.warmup_steps = 0
    config.train.decay_steps = 0  # a cosine down to 0 at this update; 0 keeps the rate
    config.train.clip_norm = 100.0  # of the gradient's global norm
    config.train.ema_decay = 0.0  # of an average of the parameters, which is what is evaluated; 0 keeps none
    config.train.log_every = 50
    config.train.eval_every = 500
    config.train.checkpoint_every = 500
    config.train.keep_every = 0  # checkpoints of every so many updates stay, beside the two latest and the best
    config.train.eval_batch_size = 256
    config.train.eval_sequences = 0  # how much of the validation split; 0 for all
    config.train.patience = 0  # updates without a better validation ELBO after which the run ends; 0 never
    config.train.pictures = True  # drawn at every validation
    config.train.max_skipped_in_a_row = 100  # updates that are not finite, before the run stops

    config.objective = ConfigDict()
    config.objective.aux_weight = 0.0  # alpha, where it ends
    config.objective.aux_weight_start = 0.0
    config.objective.aux_weight_steps = 0  # updates from start to end; 0 begins at the end
    config.objective.reverse_weight = 0.0  # beta, likewise
    config.objective.reverse_weight_start = 0.0
    config.objective.reverse_weight_steps = 0
    config.objective.aux_gradient = "target"  # rule A1; or backward
    config.objective.kl_temperature = 1.0  # where it ends
    config.objective.kl_temperature_start = 1.0
    config.objective.kl_temperature_steps = 0  # updates from start to end
    config.objective.kl_temperature_cycles = 1  # how often within these steps it starts over
    config.objective.free_nats = 0.0  # free bits of a step, in nats
    config.objective.kl_balance = config_dict.placeholder(float)  # the prior's share of the KL's gradient
    config.objective.word_dropout = 0.0  # share of the input words replaced by <unk>
    config.objective.bag_of_words_weight = 0.0
    config.objective.bound = "elbo"  # what is trained; or iwae, fivo
    config.objective.num_samples = 1  # K of either
    config.objective.doubly_reparametrised = False  # the iwae gradient of Tucker et al.
    return config
