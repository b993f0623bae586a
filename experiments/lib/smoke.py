"""Make the configs and data of scale ``smoke``, which tests the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

_TINY = {"rnn_dim": 6, "latent_dim": 2, "mlp_dim": 4, "embed_dim": 4}


def make_smoke(config: Any, row: str, table: str, dirs: dict[str, str]) -> Any:
    """Return the config with tiny sizes, two updates and generated data, as a test of the program.

    Only row ``ours`` draws pictures, because what draws takes longer to compile than what trains.
    """
    config.model.update(_TINY)
    if config.model.emission == "gmm":
        config.model.num_components = 2
    config.train.update(num_steps=2, batch_size=4, log_every=1, eval_every=2, checkpoint_every=2, decay_steps=0)
    config.train.update(eval_sequences=4, eval_batch_size=8, pictures=row == "ours")
    if table == "1-right":
        config.data.name = "digits"
        config.data.dir = ""
    elif table != "digits":
        made = Path(dirs["made"])
        config.data.dir = str(made / ("speech" if table == "1-left" else "text.txt"))
        config.data.cache_dir = str(made / "cache")
        if table == "2":
            config.data.name = "text_folder"
            config.data.vocabulary_size = 30
    return config


def make_smoke_data(folder: Path) -> None:
    """Write 24 recordings of a noisy tone and 300 sentences, the data of scale ``smoke``."""
    rng = np.random.default_rng(0)
    (folder / "speech").mkdir(parents=True, exist_ok=True)
    for number in range(24):
        time_ = np.arange(9000) / 16000
        tone = 6000 * np.sin(2 * np.pi * rng.uniform(100, 900) * time_) + rng.normal(0, 500, time_.size)
        soundfile.write(folder / "speech" / f"{number}.wav", tone.astype(np.int16), 16000, subtype="PCM_16")
    nouns, verbs = ("film", "story", "cast", "score"), ("moves", "fails", "works", "ends")
    ends = ("well", "very well", "badly", "very very badly")
    sentences = [f"the {rng.choice(nouns)} {rng.choice(verbs)} {rng.choice(ends)}." for _ in range(300)]
    (folder / "text.txt").write_text("\n\n".join(sentences) + "\n", encoding="utf-8")
