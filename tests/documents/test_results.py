"""The page of results: its tables of our runs are what the command beside them prints from the committed JSON."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tables_and_claims_of_the_page_are_those_of_the_committed_results():
    spec = importlib.util.spec_from_file_location("small_results", ROOT / "docs" / "small_results.py")
    assert spec is not None and spec.loader is not None
    printed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(printed)
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for data in printed.FILES:
        assert printed.rows_table(data) in page, data
    assert printed.claims_table() in page
    for data in printed.OTHER_SETTINGS:
        assert printed.other_settings_table(data) in page, data
    assert printed.lowest_table() in page
    for text in printed.grid_tables():
        assert text in page
    for data in printed.COMPARED:
        assert printed.compared_table(data) in page, data
    assert printed.bounds_table() in page
