"""The documents: links lead somewhere, named files exist, code blocks run, every cited rule is stated."""

import re
from pathlib import Path

import pytest
from helpers.few import few

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MODULE = re.compile(r"`((?:zf_jax|experiments|benchmarks|tests|docs|examples)/[\w/.-]+\.\w+)`")


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", without_code(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_a_file_and_a_heading(page):
    broken = []
    for link in LINK.findall(without_code(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        generated = path.startswith("api/")  # pages that Sphinx writes, and checks
        if not generated and (not target.exists() or (anchor and anchor not in anchors(target))):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    if page.name == "CHANGELOG.md":  # which tells of files that have gone
        return
    named = MODULE.findall(page.read_text(encoding="utf-8"))
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("name", few(["data", "extending", "images", "scaling", "tutorial"], "data", "extending"))
def test_code_of_a_page_runs(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert blocks
    from zf_jax.emissions import EMISSIONS
    from zf_jax.models import MODELS

    before = dict(EMISSIONS), dict(MODELS)  # what a page registers is taken out again
    try:
        exec(compile("\n".join(blocks), f"{name}.md", "exec"), {})
    finally:
        for registry, kept in zip((EMISSIONS, MODELS), before, strict=True):
            registry.clear()
            registry.update(kept)


def test_every_rule_that_code_cites_is_stated():
    stated = set(re.findall(r"^### Rule (A\d+)\.", (ROOT / "docs" / "model.md").read_text("utf-8"), flags=re.MULTILINE))
    assert stated == {f"A{n}" for n in range(1, 16)}
    cited = set()
    for folder in ("zf_jax", "experiments", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for group in re.findall(r"\brules? (A\d+(?:(?:, | and )A\d+)*)", path.read_text(encoding="utf-8")):
                cited |= set(re.findall(r"A\d+", group))
    assert cited
    assert cited <= stated
