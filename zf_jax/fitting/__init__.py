"""The training loop: updates, validation, checkpoints, early stopping; ``zf_jax.fit`` and the programs share it."""
