"""Train and score the rows of the paper's tables, and write a report of them:

    python -m experiments.reproduce --table=1,2,3 --figure=2 --scale=smoke --workdir=runs/smoke
    python -m experiments.reproduce --table=digits --scale=small --seeds=0,1,2 --workdir=runs/reproduce
    python -m experiments.reproduce --table=1 --scale=small --speech_set=librispeech --speech_dir=DIR --mnist_dir=DIR \\
        --workdir=runs/reproduce

``smoke`` has tiny models and stand-in data that it makes itself: it shows that all is connected, and its numbers mean
nothing.  ``small`` has the sizes of the configs' ``small`` variants, all as large as Z-Forcing there, ``paper`` those
of the paper.  Table 1 is speech on the left and MNIST on the right (a side whose folder is not given is left out),
table 2 is IMDB, table 3 interpolates between two sentences with table 2's models, figure 2 is the KL in training with
and without the auxiliary cost, of table 1's models.  ``digits`` is no table of the paper: its rows need no data.

Run again it goes on where it was; a part that is finished is only read.  Every number is in a file of its own in
WORKDIR/results, from which alone WORKDIR/REPORT.md and WORKDIR/report.html are made.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from absl import flags

from experiments.lib import cli

_TABLE = flags.DEFINE_list("table", [], "1, 2, 3 and digits.")
_FIGURE = flags.DEFINE_list("figure", [], "2.")
_SCALE = flags.DEFINE_enum("scale", "smoke", ["smoke", "small", "paper"], "How large.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for all runs, one folder each, and the report.", required=True)
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds to train every row with.")
_ROWS = flags.DEFINE_list("rows", [], "Only these rows, e.g. ours,aux; all by default.")
_SPEECH_SET = flags.DEFINE_enum(
    "speech_set", "timit", ["timit", "blizzard", "librispeech", "ljspeech", "audio_folder"], "The config of speech."
)
_SPEECH_DIR = flags.DEFINE_string("speech_dir", "", "Folder of the speech.")
_SPLIT_BY = flags.DEFINE_string("speech_split_by", "", "config.data.split_by, where the set has it: speaker or file.")
_MNIST_DIR = flags.DEFINE_string("mnist_dir", "", "Folder of MNIST.")
_IMDB_DIR = flags.DEFINE_string("imdb_dir", "", "Folder of IMDB.")


def main() -> None:
    """Train what is not trained, score what is not scored, write the report."""
    from experiments.lib.report import write_report
    from experiments.lib.reproduction import make_smoke_data, run_part, tables

    workdir, smoke = Path(_WORKDIR.value), _SCALE.value == "smoke"
    dirs = {"speech": _SPEECH_DIR.value, "mnist": _MNIST_DIR.value, "imdb": _IMDB_DIR.value}
    dirs |= {"split_by": _SPLIT_BY.value, "made": str(workdir / "made")}
    speech_set = "audio_folder" if smoke else _SPEECH_SET.value
    for name, asked, known in (("table", _TABLE.value or [], "1 2 3 digits"), ("figure", _FIGURE.value or [], "2")):
        for one in asked:
            if one not in known.split():
                raise cli.UserError(f"--{name} has no {one!r}: choose of {', '.join(known.split())}")
    if not _TABLE.value and not _FIGURE.value:
        raise cli.UserError("nothing is asked for: give --table or --figure")
    seeds = cli.seeds_of(_SEEDS)
    wanted = []
    if "digits" in _TABLE.value:
        wanted.append("digits")
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
        make_smoke_data(workdir / "made")
    command = "python -m experiments.reproduce " + shlex.join(sys.argv[1:])
    for seed in seeds:
        for table in wanted:
            for row in tables(speech_set)[table].rows:
                if not _ROWS.value or row in _ROWS.value:
                    run_part(table, row, seed, _SCALE.value, workdir, speech_set, dirs, command)
    for written in write_report(workdir, speech_set):
        print(written)


if __name__ == "__main__":
    cli.run(main)
