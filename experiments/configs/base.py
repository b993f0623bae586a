"""Define the fields of every config, with defaults; a config file sets the data set and the sizes."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict, config_dict


def get_base() -> Any:
    """Return a config with all fields at their defaults."""
    config: Any = ConfigDict()  # a type checker cannot know its fields
    config.seed = 0
    config.compute_dtype = "float32"  # of an update's matrix products; or bfloat16

    config.model = ConfigDict()
    config.model.name = "zforcing"  # zforcing, rnn, ...; see zf_jax/models and zf_jax/densities
    config.model.emission = ""  # "" for the data set's default; or bernoulli, categorical, gaussian, nade, ...
    config.model.rnn_dim = 1024
    config.model.latent_dim = 256
    config.model.mlp_dim = 512
    config.model.embed_dim = 512
    config.model.num_layers = 1  # rnn, pixel_rnn: the number of stacked LSTMs; eonade: hidden layers
    config.model.emission_layers = ()
    config.model.num_components = config_dict.placeholder(int)  # of gmm and dmol; None for the emission's default
    config.model.per_dimension = False  # gmm: whether each dimension of a frame has its own component
    config.model.levels = 65536  # dmol: the number of integers; 256 for 8-bit audio
    config.model.coding = "linear"  # dmol: the axis of the logistics; or mu_law
    config.model.head_dim = 128  # nade and made: hidden units
    config.model.num_iterations = 1  # eonade: k
    config.model.num_orderings = 1  # eonade: of the ensemble
    config.model.filter_size = 5  # pixel_cnn, pixel_vae: sides of a convolution
    config.model.num_glimpses = 64  # draw: T
    config.model.read_size = 2  # draw: N of a read
    config.model.write_size = 5  # draw: N of a write
    config.model.prior_input = False  # rule A4
    config.model.posterior_input = False
    config.model.aux_input = "latent"  # rule A2; or hidden_and_latent
    config.model.latent_log_std_bounds = (-7.0, 5.0)  # rule A5
    config.model.emission_log_std_bounds = (-7.0, 5.0)
    config.model.aux_log_std_bounds = (-5.0, 5.0)

    config.data = ConfigDict()
    config.data.name = ""
    config.data.dir = ""  # the folder of the data; "" for digits

    config.train = ConfigDict()
    config.train.num_steps = 1000
    config.train.batch_size = 32
    config.train.accumulate = 1  # pieces of a batch, of which one at a time is in memory
    config.train.remat = 0  # steps of a block that the gradient computes again instead of keeping; 0 keeps all
    config.train.updates_per_call = 1  # more for small updates, which leave the device waiting for the host
    config.train.learning_rate = 1e-3
    config.train.warmup_steps = 0
    config.train.decay_steps = 0  # update at which a cosine decay reaches 0; 0 for no decay
    config.train.clip_norm = 100.0  # bound on the gradient's global norm
    config.train.ema_decay = 0.0  # of an average of the parameters, which is then evaluated; 0 for none
    config.train.log_every = 50
    config.train.eval_every = 500
    config.train.checkpoint_every = 500
    config.train.keep_every = 0  # checkpoints of every so many updates are kept, with the two latest and the best
    config.train.eval_batch_size = 256
    config.train.eval_sequences = 0  # number of validation sequences; 0 for all
    config.train.patience = 0  # updates without a better validation ELBO before the run ends; 0 for no limit
    config.train.pictures = True  # whether to draw pictures at every validation
    config.train.max_skipped_in_a_row = 100  # updates with NaN or infinity before the run stops

    config.parallel = ConfigDict()
    config.parallel.shard_params = False  # divide large parameters and their moments among the devices

    config.objective = ConfigDict()
    config.objective.aux_weight = 0.0  # alpha, after the ramp
    config.objective.aux_weight_start = 0.0
    config.objective.aux_weight_steps = 0  # length of the ramp in updates; 0 for no ramp
    config.objective.reverse_weight = 0.0  # beta, after the ramp
    config.objective.reverse_weight_start = 0.0
    config.objective.reverse_weight_steps = 0
    config.objective.aux_gradient = "target"  # rule A1; or backward
    config.objective.kl_temperature = 1.0  # after the ramp
    config.objective.kl_temperature_start = 1.0
    config.objective.kl_temperature_steps = 0  # length of the ramp in updates
    config.objective.kl_temperature_cycles = 1  # number of ramps within these steps
    config.objective.free_nats = 0.0  # free bits per step, in nats
    config.objective.kl_balance = config_dict.placeholder(
        float
    )  # the prior's share of the KL's gradient; None for the plain gradient
    config.objective.word_dropout = 0.0  # share of input words replaced by <unk>
    config.objective.bag_of_words_weight = 0.0
    config.objective.bound = "elbo"  # the trained bound; or iwae, fivo
    config.objective.num_samples = 1  # K of iwae, particles of fivo; for elbo, K estimates are averaged
    config.objective.doubly_reparametrised = False  # the iwae gradient of Tucker et al.
    return config
