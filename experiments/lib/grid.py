"""The grid of settings for digits row by row: the rows, their configs, and the choice on validation."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

from experiments.configs import digits

ALPHAS = (0.0, 5e-5, 1e-4, 5e-4, 2.5e-3, 5e-3)
RATES = (3e-3, 1e-3)
SIBLINGS = ("rnn", "storn", "vrnn", "srnn")
CRITERION = "valid.elbo.nats_per_sequence"


class Setting(NamedTuple):
    """One row of the grid."""

    model: str
    learning_rate: float
    annealing: bool = False
    alpha: float = 0.0
    beta: float = 0.0
    aux_gradient: str = "target"  # rule A1


def settings() -> dict[str, Setting]:
    """Return the settings by row name; rows of the config's own learning rate and gradient mode come first.

    Mode ``backward`` of rule A1 is there with beta = alpha and the first learning rate; other rows have ``target``.
    """
    found = []
    for rate in RATES:
        found += [Setting("rnn", rate)]
        found += [Setting(model, rate, annealing) for model in SIBLINGS[1:] for annealing in (True, False)]
        for annealing in (False, True):
            for alpha in ALPHAS:
                found += [Setting("zforcing", rate, annealing, alpha, beta) for beta in sorted({0.0, alpha, 1.0})]
        if rate == RATES[0]:
            modes = [(annealing, alpha) for annealing in (False, True) for alpha in ALPHAS if alpha]
            found += [Setting("zforcing", rate, annealing, alpha, alpha, "backward") for annealing, alpha in modes]
    return {_name(setting): setting for setting in found}


def _name(setting: Setting) -> str:
    name = f"{setting.model}_lr{setting.learning_rate:g}" + "_kla" * setting.annealing
    if setting.model == "zforcing":
        name += f"_alpha{setting.alpha:g}_beta{setting.beta:g}"
    return name + "_backward" * (setting.aux_gradient == "backward")


def grid_config(row: str) -> Any:
    """Return the config of a row: digits row by row, without pictures."""
    setting = settings()[row]
    config = digits.get_config()
    config.model.name = setting.model
    config.train.learning_rate = setting.learning_rate
    config.train.pictures = False
    config.objective.update(aux_weight=setting.alpha, reverse_weight=setting.beta, aux_gradient=setting.aux_gradient)
    if not setting.annealing:
        config.objective.update(kl_temperature_start=1.0, kl_temperature_steps=0)
    return config


def chosen(found: dict[str, list[dict[str, Any]]]) -> list[tuple[str, str, int]]:
    """Return for each group of rows its name, the row of the best mean validation ELBO, and how many it was chosen of.

    Args:
      found: the results of all seeds, by row.
    """
    groups: dict[str, list[str]] = {}
    for row, setting in settings().items():
        if row in found:
            groups.setdefault(_group(setting), []).append(row)
    return [(group, max(rows, key=lambda row: validation(found[row])), len(rows)) for group, rows in groups.items()]


def validation(several: list[dict[str, Any]]) -> float:
    """Return the mean over seeds of what settings are chosen by, the validation ELBO."""
    return statistics.mean(one["figures"][CRITERION] for one in several)


def _group(setting: Setting) -> str:
    if setting.model != "zforcing":
        return setting.model
    cost = "with" if setting.alpha else "without"
    mode = ", gradient mode backward" * (setting.aux_gradient == "backward")
    return f"zforcing {cost} auxiliary cost, {'with' if setting.annealing else 'without'} annealing{mode}"
