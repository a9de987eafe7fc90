"""How Sphinx makes a site of this folder (`make docs`)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "kdbench"
author = "kdbench contributors"
extensions = ["myst_parser", "sphinx_click", "mathml", "method_pages"]
# Formulas are parts of the pages in `method/`, which are made from the classes.
exclude_patterns = ["methods/*", "examples/*", "_ext/*"]
nitpicky = True

myst_enable_extensions = ["deflist", "dollarmath"]
highlight_language = "sh"
myst_heading_anchors = 3
myst_links_external_new_tab = False

html_theme = "pydata_sphinx_theme"
html_title = "kdbench"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["kdbench.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"**": ["pages.html"]}
html_theme_options = {
    "navbar_center": [],
    "navbar_persistent": [],
    "navbar_end": ["search-button", "theme-switcher"],
    "show_toc_level": 2,
    "show_prev_next": False,
    "navigation_with_keys": False,
    "footer_start": [],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
