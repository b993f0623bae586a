"""Configure Sphinx: ``make docs`` builds these pages, and the API pages from the docstrings, into docs/_build/html."""

import zf_jax

project = "zf_jax"
author = "The zf_jax authors"
copyright = author
release = zf_jax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.apidoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build", "requirements.txt"]
html_theme = "furo"
html_title = "zf_jax"
html_theme_options = {"light_css_variables": {"font-stack--monospace": "ui-monospace, monospace"}}

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

apidoc_modules = [
    {
        "path": "../zf_jax",
        "destination": "api",
        "separate_modules": True,
        "module_first": True,
        "include_private": False,
        "automodule_options": {"members"},
    }
]
autodoc_member_order = "bysource"
autodoc_default_options = {"ignore-module-all": True}  # a re-exported name has one page, its module's
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

nitpicky = True
# Types of other packages, type aliases and type variables have no page here; every other broken reference is an error.
nitpick_ignore_regex = [("py:.*", r"(?!zf_jax\.).*"), ("py:class", r"zf_jax\..*\.(R|_Read)")]


def show_as_written(app, what, name, obj, options, lines):
    """Turn paragraphs of a module's docstring that are laid out by hand (equations, tables) into literal blocks."""
    if what != "module":
        return
    paragraphs = "\n".join(lines).split("\n\n")
    for index, paragraph in enumerate(paragraphs):
        written = paragraph.strip("\n").splitlines()
        by_hand = all(line.startswith("  ") for line in written) or any("   " in line.strip() for line in written)
        if by_hand:
            paragraphs[index] = "::\n\n" + "\n".join("    " + line for line in written)
    lines[:] = "\n\n".join(paragraphs).split("\n")


def setup(app):
    """Register the hook."""
    app.connect("autodoc-process-docstring", show_as_written, priority=400)
