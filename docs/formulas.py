"""Formulas as MathML, written when the site is built: pages need no script and no network.

A hook of MkDocs, named in `mkdocs.yml`. Arithmatex marks the formulas of a page; browsers typeset
MathML themselves.
"""

import html
import re

import latex2mathml.converter

_FORMULA = re.compile(r'(<(span|div) class="arithmatex">)\\([(\[])(.*?)\\[)\]](</\2>)', re.DOTALL)


def on_page_content(content: str, **_) -> str:
    """Returns the HTML of a page with its formulas in MathML.

    Args:
        content: str, the HTML that Markdown gave.
    """
    return _FORMULA.sub(_typeset, content)


def _typeset(match):
    start, _, bracket, formula, end = match.groups()
    display = "block" if bracket == "[" else "inline"
    mathml = latex2mathml.converter.convert(html.unescape(formula).strip(), display=display)
    return f"{start}{mathml}{end}"
