"""Which tables of a folder are bad where bad ones are skipped: those that are unlike most, wherever they stand."""

import pytest

from zf_jax.data import load
from zf_jax.data.tables import read_tables


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content)
    return str(folder)


def read(folder, **options):
    found = read_tables(folder, skip_bad_files=True, **options)
    assert found.counts["bad_files_skipped"] == len(found.counts["bad_files"])
    return found


def test_the_columns_are_those_of_most_files_and_not_of_the_first(tmp_path):
    whole = "t,u\n" + "".join(f"{step},{step * step}\n" for step in range(10))
    fewer = "t\n" + "".join(f"{step}\n" for step in range(10))
    folder = write(tmp_path / "fewer", a=fewer, **{f"b{index}": whole for index in range(5)})
    data = load("arrays", data_dir=folder, split_by="time", skip_bad_files=True)
    assert (data.columns, len(data.split("train")), data.counts["bad_files_skipped"]) == (("t", "u"), 5, 1)
    assert "a.csv has no column 'u', which the files that are read have" in data.counts["bad_files"][0]
    found = read(write(tmp_path / "more", a="t,u,v\n1,2,3\n", b="u,t\n1,2\n", c="t,u\n1,2\n"))
    assert (found.names, found.columns) == (["b", "c"], ("u", "t"))
    assert "a.csv has a column 'v' that the files that are read do not have" in found.counts["bad_files"][0]
    found = read(write(tmp_path / "other", a="t,v\n1,2\n", b="t,u\n1,2\n", c="t,u\n1,2\n"), columns="t")
    assert found.names == ["a", "b", "c"]  # all have the columns that are asked for


@pytest.mark.parametrize(
    ("files", "columns", "names", "told"),
    [
        (
            dict(a="t,u\n1,\n2,\n", b="t,u\n1,2\n", c="t,u\n1,2\n"),
            ("t", "u"),
            "bc",
            "a.csv: row 1 of column 'u' has no",
        ),
        (dict(a="t,u\n1,2\n", b="t,u\n1,\n"), ("t", "u"), "a", "b.csv: row 1 of column 'u' has no value"),
        (dict(a="t,u\n1,x\n", b="t,u\n1,2\n", c="t,u\n1,2\n"), ("t", "u"), "bc", "a.csv: column 'u' has 'x', and in"),
        (dict(a="t,u\n1,2\n", b="t,u\n1,x\n", c="t,u\n1,y\n"), ("t",), "bc", "a.csv: column 'u' has numbers, and has"),
        (dict(a="t,u\n1,2\n", b="t,u\n1,\n", c="t,u\n1,y\n"), ("t",), "bc", "a.csv: column 'u' has numbers, and has"),
    ],
)
def test_a_file_whose_cells_are_unlike_those_of_most_is_skipped(files, columns, names, told, tmp_path):
    found = read(write(tmp_path, **files))
    assert (found.columns, found.names) == (columns, list(names))
    assert [told in sentence for sentence in found.counts["bad_files"]] == [True]


def test_a_column_without_a_value_in_most_files_is_a_gap_where_values_may_be_missing(tmp_path):
    found = read(write(tmp_path, a="t,u\n1,2\n", b="t,u\n1,\n", c="t,u\n1,\n"), missing=True)
    assert (found.names, found.columns, found.counts["bad_files_skipped"]) == (["a", "b", "c"], ("t", "u"), 0)
