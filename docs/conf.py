"""Settings of the site. `tools/build_site.py` puts its source together, with this file."""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]  # from build/site/source, where this file is copied to
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from build_site import plain  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REPOSITORY = PROJECT["tool"]["advlib"]["repository"]

project = "Adversarial examples for language models"
author = "The advlib authors"
copyright = "The advlib authors. Code: Apache-2.0. Lessons: CC BY 4.0"
release = PROJECT["project"]["version"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinxcontrib.bibtex"]
# The answers to the exam are for those who mark.
exclude_patterns = ["downloads", "jupyter_execute", "exam-answers.md"]

# Lessons are shown as they were run; nothing is executed here, and no widget library is loaded.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True
myst_enable_extensions = ["attrs_block", "attrs_inline", "dollarmath", "colon_fence"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

bibtex_bibfiles = ["reading.bib"]
bibtex_default_style = "plain"

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"

# `textmacros` makes \texttt{step\_size} one word with an underscore.
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {
    "loader": {"load": ["[tex]/textmacros"]},
    "tex": {"packages": {"[+]": ["textmacros"]}},
}

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_extra_path = ["../extra"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_css_files = ["site.css"]
html_js_files = [("predict.js", {"defer": "defer"})]
html_copy_source = False
html_show_sourcelink = False
# Pages that stand alone have nothing to show beside them.
html_sidebars = {name: [] for name in ("index", "glossary", "reading", "contributing", "search")}
html_theme_options = {
    "logo": {"text": "Adversarial examples", "alt_text": ""},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "search_as_you_type": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "primary_sidebar_end": [],
    "show_toc_level": 2,
}
if REPOSITORY != "OWNER/REPOSITORY":
    html_theme_options["github_url"] = f"https://github.com/{REPOSITORY}"


def setup(app):
    """Docstrings are plain text, and shown as such."""

    def shown(app, what, name, obj, options, lines):
        lines[:] = plain(lines)

    app.connect("autodoc-process-docstring", shown)
