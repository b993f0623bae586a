"""Train and score the rows of the paper's tables, and write a report:

    zf_jax reproduce --table=1,2,3 --figure=2 --scale=smoke --workdir=runs/smoke
    zf_jax reproduce --table=digits --scale=small --seeds=0,1,2 --workdir=runs/reproduce
    zf_jax reproduce --table=1 --scale=small --speech_set=librispeech --speech_dir=DIR --mnist_dir=DIR \\
        --workdir=runs/reproduce

Scale ``smoke`` trains tiny models for two updates on generated data, as a test of the program; the numbers mean
nothing.  Scale ``small`` has the sizes of the configs' ``small`` variants, with all parameter counts equal to
Z-Forcing's.  Scale ``paper`` has the paper's sizes.

Table 1 is speech (left) and MNIST (right); a side without a folder is left out.  Table 2 is IMDB.  Table 3 interpolates
between two sentences with the models of table 2.  Figure 2 is the validation KL during training, with and without the
auxiliary cost, of the models of table 1.  ``digits`` needs no data and is not a table of the paper.  ``grid`` trains
the models of ``digits`` with every setting of a grid: learning rate, annealing, and for Z-Forcing alpha, beta and the
gradient mode; the report names for each model the row of the best validation ELBO.

Stopped by SIGINT or SIGTERM and run again, the program continues; finished parts are only read, and the report lists
unfinished parts.  The numbers of each row and seed are in one file of
WORKDIR/results.  WORKDIR/REPORT.md and WORKDIR/report.html are made from these files and the runs' pictures and sound.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from absl import flags

from experiments.lib import cli

_TABLE = flags.DEFINE_list("table", [], "Tables to train: any of 1, 2, 3, digits, grid.")
_FIGURE = flags.DEFINE_list("figure", [], "Figures to train: 2.")
_SCALE = flags.DEFINE_enum("scale", "smoke", ["smoke", "small", "paper"], "Sizes of models and data.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of all runs and of the report.", required=True)
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds with which to train every row.")
_ROWS = flags.DEFINE_list("rows", [], "Rows to train, such as ours,aux; all by default.")
_SPEECH_SET = flags.DEFINE_enum(
    "speech_set",
    "timit",
    ["timit", "blizzard", "librispeech", "ljspeech", "audio_folder"],
    "Config of the speech data.",
)
_SPEECH_DIR = flags.DEFINE_string("speech_dir", "", "Folder of the speech data.")
_SPLIT_BY = flags.DEFINE_string(
    "speech_split_by", "", "config.data.split_by, if the speech set has the option: speaker or file."
)
_MNIST_DIR = flags.DEFINE_string("mnist_dir", "", "Folder of MNIST.")
_IMDB_DIR = flags.DEFINE_string("imdb_dir", "", "Folder of IMDB.")


def main() -> None:
    """Train and score all unfinished parts, and write the report."""
    import jax

    from experiments.lib.report import write_report
    from experiments.lib.reproduction import Stopped, run_part
    from experiments.lib.smoke import make_smoke_data
    from experiments.lib.table_rows import tables

    workdir, smoke = Path(_WORKDIR.value), _SCALE.value == "smoke"
    dirs = {"speech": _SPEECH_DIR.value, "mnist": _MNIST_DIR.value, "imdb": _IMDB_DIR.value}
    dirs |= {"split_by": _SPLIT_BY.value, "made": str(workdir / "made")}
    speech_set = "audio_folder" if smoke else _SPEECH_SET.value
    for name, asked, known in (
        ("table", _TABLE.value or [], "1 2 3 digits grid"),
        ("figure", _FIGURE.value or [], "2"),
    ):
        for one in asked:
            if one not in known.split():
                raise cli.UserError(f"--{name} has no {one!r}: choose of {', '.join(known.split())}")
    if not _TABLE.value and not _FIGURE.value:
        raise cli.UserError("there is nothing to train: pass --table or --figure")
    seeds = cli.seeds_of(_SEEDS)
    wanted = [table for table in ("digits", "grid") if table in _TABLE.value]
    if "1" in _TABLE.value or _FIGURE.value:
        wanted += [side for side, kind in (("1-left", "speech"), ("1-right", "mnist")) if smoke or dirs[kind]]
    if {"2", "3"} & set(_TABLE.value):
        wanted.append("2")
    for table in wanted:
        if table == "2" and not smoke and not dirs["imdb"]:
            raise cli.UserError("tables 2 and 3 need --imdb_dir, the folder of IMDB")
    if not wanted:
        raise cli.UserError("table 1 and figure 2 need --speech_dir or --mnist_dir")
    known = {row for table in wanted for row in tables(speech_set)[table].rows}
    unknown = [row for row in _ROWS.value or [] if row not in known]
    if unknown:
        raise cli.UserError(f"--rows has no {unknown[0]!r} here: choose of {', '.join(sorted(known))}")
    workdir.mkdir(parents=True, exist_ok=True)
    if smoke:
        jax.config.update("jax_disable_most_optimizations", True)  # compiling is what takes the time here
        make_smoke_data(workdir / "made")
    command = "python -m experiments.reproduce " + shlex.join(sys.argv[1:])
    try:
        for seed in seeds:
            for table in wanted:
                for row in tables(speech_set)[table].rows:
                    if not _ROWS.value or row in _ROWS.value:
                        run_part(table, row, seed, _SCALE.value, workdir, speech_set, dirs, command)
    except Stopped:
        write_report(workdir, speech_set)
        raise
    for written in write_report(workdir, speech_set):
        print(written)


if __name__ == "__main__":
    cli.run(main)
