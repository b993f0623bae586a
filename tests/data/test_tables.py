"""Sequences out of CSV and Parquet files: what stands in the cells is what is read, and what is wrong has its place."""

import datetime
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from experiments.lib.left_out import left_out
from zf_jax.data import DataError, load
from zf_jax.data.description import DataDescription
from zf_jax.data.foreign import foreign_source
from zf_jax.data.sources import names_of
from zf_jax.data.tables import read_tables


def write(folder, **files):
    """Write CSV files, text or bytes by name; "__" in a name is a folder."""
    for name, content in files.items():
        path = Path(folder, *f"{name}.csv".split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def refusal(path, **options):
    with pytest.raises(DataError) as error:
        read_tables(path, **options)
    sentence = str(error.value)
    assert "\n" not in sentence
    return sentence


def test_a_file_is_a_sequence_and_its_columns_of_numbers_are_the_dimensions(tmp_path):
    folder = write(
        tmp_path,
        b="\ufeffday,temp,wind\n2001-01-01,1,-2e1\n2001-01-02, +.5 ,3.\n",
        a__c="wind,day,temp\n7,2001-02-01,8\n\n",  # in another order
        _d="\n",
    )
    (tmp_path / "_d.csv").rename(tmp_path / ".d.csv")
    (tmp_path / "notes.txt").write_text("x")
    found = read_tables(folder)
    assert (found.names, found.columns) == (["a/c", "b"], ("wind", "temp"))
    np.testing.assert_array_equal(found.values[0], [[7, 8]])
    np.testing.assert_array_equal(found.values[1], [[-20, 1], [3, 0.5]])
    counts = {"files": 2, "other_files_not_read": 1, "hidden_files_not_read": 1, "columns_left_out": ["day"]}
    assert found.counts == {**counts, "bad_files_skipped": 0, "bad_files": []}
    chosen = read_tables(folder, columns="temp")
    assert (chosen.columns, chosen.values[1].tolist()) == (("temp",), [[1], [0.5]])
    write(tmp_path / "quoted", x='"a, b",c\n1,2\n')
    assert read_tables(str(tmp_path / "quoted"), columns='c, "a, b"').values[0].tolist() == [[2, 1]]


def test_a_parquet_file_is_the_csv_file_of_the_same_cells(tmp_path):
    days = [datetime.datetime(2001, 1, day) for day in (1, 2, 3, 4)]
    cells = {"id": ["u", "v", "u", "v"], "day": days, "n": [1, None, 3, 4], "x": [0.5, 1.5, float("nan"), 2.0]}
    table = pa.table(cells).set_column(0, "id", pa.array(cells["id"]).dictionary_encode())
    pyarrow.parquet.write_table(table, tmp_path / "p.parquet")
    write(tmp_path, c="id,day,n,x\nu,2001-01-01,1,.5\nv,2001-01-02,NA,1.5\nu,2001-01-03,3,\nv,2001-01-04,4,2\n")
    options = dict(sequence_column="id", order_column="day", missing=True)
    ours, theirs = (read_tables(str(tmp_path / name), **options) for name in ("p.parquet", "c.csv"))
    assert ours.names == theirs.names == ["u", "v"]
    assert ours.columns == theirs.columns == ("n", "x")
    expected = [[1, 0.5], [3, np.nan]], [[np.nan, 1.5], [4, 2]]
    for one, other, cells in zip(ours.values, theirs.values, expected, strict=True):
        np.testing.assert_array_equal(one, cells)
        np.testing.assert_array_equal(other, cells)
    both = read_tables(str(tmp_path), **options)
    assert both.names == ["c/u", "c/v", "p/u", "p/v"]


def test_the_index_that_pandas_writes_is_left_out_unless_it_is_asked_for(tmp_path):
    index, file = "__index_level_0__", str(tmp_path / "a.parquet")
    pyarrow.parquet.write_table(pa.table({"x": [1.0, 2.0], index: [7, 9]}), file)
    write(tmp_path, b=",x\n7,1\n9,2\n")
    found = read_tables(str(tmp_path))
    assert (found.columns, found.counts["columns_left_out"]) == (("x",), [index])
    np.testing.assert_array_equal(found.values[0], found.values[1])
    assert read_tables(file, columns=f"{index},x").values[0].tolist() == [[7, 1], [9, 2]]
    for option in ("context_columns", "sequence_column", "order_column"):
        found = read_tables(file, **{option: index})
        assert (found.columns, found.counts["columns_left_out"]) == (("x",), [])


@pytest.mark.parametrize(
    ("files", "options", "match"),
    [
        (
            dict(a="x,y\n1,2\n3,oops\n"),
            {},
            r"a\.csv: row 2 of column 'y' is 'oops', which is no number; mend the cell, or",
        ),
        (
            dict(a="x,y\n1,2\n3,z\n"),
            dict(columns="y"),
            r"row 2 of column 'y' is 'z', which is no number; mend the cell$",
        ),
        (
            dict(a='x,y\n1,"3,14"\n2,"-2,5"\n'),
            {},
            r"row 1 of column 'y' is '3,14', which has a decimal comma; write numbers with a point alone, as 3\.14",
        ),
        (dict(a='y\n1\n"2,5"\n'), dict(columns="y"), "row 2 of column 'y' is '2,5', which has a decimal comma"),
        (dict(a='x\n"1,234.5"\n'), {}, r"'1,234\.5', which has a decimal comma or commas between thousands"),
        (dict(a="x;y\n1;3,14\n"), {}, "separate cells by commas, not by semicolons"),
        (dict(a="x\n1e300\n"), {}, r"row 1 of column 'x' is 1e\+300, which is not finite in float32"),
        (dict(a="x\n1\ninf\n"), {}, "row 2 of column 'x' is 'inf'"),
        (dict(a="x\n1\n1_0\n"), {}, "row 2 of column 'x' is '1_0'"),
        (dict(a="x,y\n1,2\n3\n"), {}, r"a\.csv: row 2 has 1 cells, and the header has 2"),
        (dict(a="x,y\n1,2\n1,2\n3,4,5\n"), {}, r"a\.csv: row 3 has 3 cells, and the header has 2"),
        (
            dict(a="x,y\n1,\n2,3\n"),
            {},
            r"row 1 of column 'y' has no value; pass missing=True if that means not observed",
        ),
        (dict(a="x\n1\n\n2\n"), {}, "row 2 of column 'x' has no value"),  # an empty line is a step
        (dict(a="x,y\n1,2\n", b="x,y\n1,NaN\n"), {}, r"b\.csv: row 1 of column 'y' has no value"),
        (
            dict(a="x,y\n1,2\n", b="x,z\n1,2\n"),
            {},
            r"b\.csv has no column 'y'; it has 'x', 'z': rename the column, or set columns",
        ),
        (dict(a="x\n1\n", b="x,z\n1,2\n"), {}, r"b\.csv has a column 'z' that files before it do not have"),
        (dict(a="x,y\n1,2\n", b="x,y\n1,u\n"), {}, r"b\.csv: column 'y' has 'u', and in .*a\.csv it has numbers"),
        (dict(a="x,y\n1,2\n"), dict(columns="x,z"), r"a\.csv has no column 'z'; it has 'x', 'y'"),
        (dict(a=""), {}, r"a\.csv is empty"),
        (dict(a="\n\n"), {}, r"a\.csv is empty"),
        (dict(a="x,y\n"), {}, "has a header and no rows"),
        (dict(a="x,x\n1,2\n"), {}, "has two columns called 'x'"),
        (dict(a="1,2\n3,4\n"), {}, "has no header: its first row is numbers"),
        (dict(a="x;y\n1,5;2\n"), {}, r"row 1 has 2 cells, and the header has 1"),
        (dict(a="x;y\n1;2\n"), {}, "has no column of numbers; it has 'x;y': separate cells by commas"),
        (dict(a="x\ny\n"), {}, "has no column of numbers; it has 'x'"),
        (dict(a="x,é\n1,2\n".encode("latin-1")), {}, r"a\.csv is not UTF-8"),
        (dict(a="x,y\n1,é\n".encode("latin-1")), {}, r"a\.csv is not UTF-8"),
        (dict(a="x,y\n1,2\n".encode("utf-16")), {}, r"a\.csv is not UTF-8"),
        (dict(a="x,y\n1,2\n".encode("utf-16-le")), {}, r"a\.csv is not UTF-8"),
        (dict(a='"x\nz",y\n1,2\n'), dict(columns="y", order_column="w"), "has no column 'w'; it has 'x\\\\nz', 'y'"),
        (dict(a="x,t\n1,2\n2,1\n"), dict(order_column="t"), r"row 2 of column 't' is 1, not after 2 in row 1"),
        (dict(a="x,t\n1,2001-02-01\n2,2001-02-01\n"), dict(order_column="t"), "row 2 .*not after 2001-02-01 in row 1"),
        (dict(a="x,t\n1,2001-02-01\n2,1.2.2001\n"), dict(order_column="t"), r"row 2 .* '1\.2\.2001', which is neither"),
        (dict(a="x,t\n1,2001Q1\n"), dict(order_column="t"), r"row 1 .* '2001Q1', which is neither"),
        (dict(a="x,t\n1,5\n2,\n"), dict(order_column="t"), "row 2 .* is '', which is neither"),
        (dict(a="x,s\n1,u\n2,\n"), dict(sequence_column="s"), "row 2 of column 's' does not say of which sequence"),
        (dict(a="x,s\n1,u\n"), dict(sequence_column="t"), "has no column 't'; it has 'x', 's': set sequence_column"),
        (dict(a="x,c\n1,2\n1,\n"), dict(context_columns="c"), "row 2 of column 'c' has no value; a context must be"),
        (dict(a="x,c\n1,u\n"), dict(context_columns="c"), "row 1 of column 'c' is 'u', which is no number"),
        (dict(a="x\n1\n"), dict(context_columns="c"), "has no column 'c'; it has 'x': set context_columns"),
        (dict(a="x\n1\n"), dict(columns="x", order_column="x"), "order_column 'x' cannot be one of the columns"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_place(files, options, match, tmp_path):
    sentence = refusal(write(tmp_path, **files), **options)
    assert re.search(match, sentence), sentence


def test_two_files_of_one_name_are_refused_and_damaged_parquet_too(tmp_path):
    pyarrow.parquet.write_table(pa.table({"x": [1.0]}), tmp_path / "a.parquet")
    assert "two sequences called 'a'" in refusal(write(tmp_path, a="x\n1\n"))
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:-30])
    assert "a.parquet is no Parquet file" in refusal(str(tmp_path / "a.parquet"))
    repeated = pa.table([[1.0], [2.0]], names=["x", "x"])
    pyarrow.parquet.write_table(repeated, tmp_path / "a.parquet")
    assert "two columns called 'x'" in refusal(str(tmp_path / "a.parquet"))


def test_bad_files_are_counted_where_that_is_asked_for(tmp_path):
    folder = write(tmp_path, a="x\noops\n2\n", b="x\n1\n", c="", d="x\n2\n3\n")
    found = read_tables(folder, skip_bad_files=True)
    assert (found.names, found.counts["bad_files_skipped"]) == (["b", "d"], 2)
    assert "no number" in found.counts["bad_files"][0]
    assert "the first says" in refusal(write(tmp_path / "none", a=""), skip_bad_files=True)


def test_a_column_without_any_number_is_left_out_and_one_without_a_number_in_a_file_is_a_gap(tmp_path):
    folder = write(tmp_path, a="x,y,z,\n1,,,0\n2,,,1\n", b="x,y,z,\n1,5,,0\n")
    found = read_tables(folder, missing=True)
    assert (found.columns, found.counts["columns_left_out"]) == (("x", "y"), ["z"])  # nor what has no name
    np.testing.assert_array_equal(found.values[0], [[1, np.nan], [2, np.nan]])
    assert "a.csv: row 1 of column 'y' has no value" in refusal(folder)


def some_tables(folder, number=20):
    rng = np.random.default_rng(0)
    for index in range(number):
        rows = rng.normal(7, 3, (rng.integers(20, 31), 2)) * [1, 1000]
        lines = [f"{step},{a:.6g},{b:.6g}" for step, (a, b) in enumerate(rows)]
        write(folder, **{f"house{index}": "\n".join(["hour,depth,price", *lines])})
    return str(folder)


def test_a_folder_of_tables_is_a_data_set(tmp_path):
    folder = some_tables(tmp_path)
    data = load("arrays", data_dir=folder, order_column="hour", piece_steps=8)
    read = read_tables(folder, order_column="hour")
    assert (data.columns, data.observation.size) == (("depth", "price"), 2)
    assert {len(data.split(split)) for split in ("valid", "test")} == {2}
    described, source = DataDescription.of(data), data.split("test")
    for index, name in enumerate(names_of(source) or ()):
        expected = read.values[read.names.index(name)]
        np.testing.assert_allclose(described.to_own_unit(source[index].targets), expected, rtol=1e-5)
    train = [row for name, row in zip(read.names, read.values, strict=True) if name not in seen_in(data)]
    assert data.normalisation["mean"] == pytest.approx(np.concatenate(train).mean(axis=0))
    assert max(data.split("train").lengths) == 8
    one = load("arrays", data_dir=f"{folder}/house0.csv", columns="price,depth", split_by="time", normalise="all")
    steps = len(read.values[0])
    assert names_of(one.split("test")) == [f"house0[{round(0.9 * steps)}:{steps}]"]
    assert (one.columns, type(one.normalisation["mean"])) == (("price", "depth"), float)


def seen_in(data):
    return [name for split in ("valid", "test") for name in names_of(data.split(split)) or ()]


def test_columns_of_context_are_given_beside_the_others(tmp_path):
    folder = some_tables(tmp_path)
    read = read_tables(folder, context_columns="hour,price", sequence_column="")
    assert (read.columns, read.context[3].shape) == (("depth",), (len(read.values[3]), 2))
    np.testing.assert_array_equal(read.context[3][:, 0], np.arange(len(read.values[3])))
    data = load("arrays", data_dir=folder, context_columns="hour,price", order_column="hour")
    assert (data.observation.context, data.columns) == (2, ("depth",))
    source = foreign_source(folder, DataDescription.of(data), context_columns="hour,price")
    moments = data.context_normalisation
    expected = (read.context[0] - moments["mean"]) / moments["std"]
    np.testing.assert_allclose(source[0].context, expected, rtol=1e-5, atol=1e-6)


def test_columns_are_a_list_or_a_text(tmp_path):
    folder = some_tables(tmp_path)
    found = [load("arrays", data_dir=folder, columns=columns).columns for columns in (["price"], ("price",), "price")]
    assert found == [("price",)] * 3
    for wrong in (3, [1]):
        with pytest.raises(DataError, match="columns must be names"):
            load("arrays", data_dir=folder, columns=wrong)


def test_sentences_about_sequences_name_them(tmp_path):
    write(tmp_path, a="x\n1\n", b="x\n1\n2\n3\n4\n")
    with pytest.raises(DataError, match=r"sequence 'a' has 1 steps, too few"):
        load("arrays", data_dir=str(tmp_path), split_by="time")
    with pytest.raises(DataError, match="all numbers of dimension 'x'"):
        load("arrays", data_dir=write(tmp_path / "c", a="x\n1\n1\n1\n"), split_by="time")
    with pytest.raises(DataError, match="num_tokens belongs to an npz"):
        load("arrays", data_dir=str(tmp_path), num_tokens=3)
    np.savez(tmp_path / "arrays.npz", values=np.zeros((1, 2, 1)), lengths=[2])
    with pytest.raises(DataError, match="an npz file, which has no columns: leave sequence_column out"):
        load("arrays", data_dir=str(tmp_path), sequence_column="x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.txt").touch()
    with pytest.raises(DataError, match=r"holds neither arrays\.npz nor CSV or Parquet files"):
        load("arrays", data_dir=str(tmp_path / "empty"))


def test_other_tables_are_read_by_the_columns_and_the_scale_of_a_run(tmp_path):
    data = load("arrays", data_dir=some_tables(tmp_path / "mine"), columns="price,depth")
    described = DataDescription.of(data)
    other = write(tmp_path / "other", x="depth,price\n1,2000\n3,4000\n")
    source = foreign_source(other, described, columns="price,depth", order_column="")
    assert names_of(source) == ["x"]
    np.testing.assert_allclose(described.to_own_unit(source[0].targets), [[2000, 1], [4000, 3]], rtol=1e-5)
    for columns, match in (("depth,cost", "no column 'price'"), ("depth,price", "no value")):
        with pytest.raises(DataError, match=match):
            foreign_source(write(tmp_path / "other", x=f"{columns}\n1,2\n,3\n"), described)
    arrays = tmp_path / "arrays.npz"
    np.savez(arrays, values=np.random.default_rng(0).normal(size=(9, 3, 2)), lengths=[3] * 9)
    with pytest.raises(DataError, match="dimensions have no names"):
        foreign_source(other, DataDescription.of(load("arrays", data_dir=str(arrays))))


def test_inspect_data_names_the_columns_that_are_left_out(tmp_path):
    write(tmp_path, **{str(index): f"day,x,place\nmon,{index},u\ntue,{index + 2},v\n" for index in range(9)})
    counts = load("arrays", data_dir=str(tmp_path)).describe()
    assert dict(left_out(counts)) == {"columns left out": "2: day, place"}
    assert json.loads(json.dumps(counts))["columns"] == ["x"]
