"""Formulas as MathML, made when the pages are built: no script and no font is fetched to read them.

Docutils turns LaTeX into MathML itself; Sphinx has a renderer for scripts and for images alone.
"""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

LOG = logging.getLogger(__name__)


def inline(translator, node: nodes.math) -> None:
    """A formula in a line of text."""
    translator.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def block(translator, node: nodes.math_block) -> None:
    """A formula of its own; a wide one scrolls."""
    translator.body.append(f'<div class="formula">{mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def mathml(node: nodes.Element, as_block: bool) -> str:
    """The MathML of a node's LaTeX; what cannot be translated is a warning and stays as it is."""
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        LOG.warning("formula: %s", error, location=node)
        return f"<code>{nodes.unescape(node.astext())}</code>"


def setup(app: Sphinx) -> dict:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
