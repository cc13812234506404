"""
The description of a release, as markup: rendered if the extra `render` is installed, else as its text.

It never raises: what cannot be rendered, in time and within bounds, is shown as text.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.web.pages.clean_html import LINK_RELATION, cleaned_html, unturned

if TYPE_CHECKING:
    from twisted.web.template import Tag

    from twisted_index.web.pages.layout import Markup

#: Characters of a description that are shown, and rendered.
MAX_TEXT = 1 << 18
#: Seconds that rendering may take, on a machine that is busy. The program itself has less of processor time:
#: so what ends by itself is hostile, and what is ended by this unlucky.
_PATIENCE = 30
#: Links of a text that is not rendered.
_MOST_LINKS = 1000
_PROGRAM = Path(__file__).with_name("_rendering.py")
_URL = re.compile(r"https?://[A-Za-z0-9\[][^\s\x00-\x20\"'<>`{|}\\^\x7f-\xa0]{1,2000}", re.IGNORECASE)
_BREAKS = re.compile("\r\n?")


def is_rendered(text: str, content_type: str) -> bool:
    """Return whether a description is one that `rendered_html` tries to render."""
    return (
        bool(_kind(content_type) and text.strip())
        and len(text) <= MAX_TEXT
        and find_spec("readme_renderer") is not None
    )


def rendered_html(text: str, content_type: str) -> str | None:
    """
    Render a description; blocks for as long as that takes.

    Args:
        text: Its source.
        content_type: The field Description-Content-Type (core metadata 2.1); empty without one: then it may
            be reStructuredText.

    Returns:
        HTML that `description_markup` still has to look at; empty if it is to be shown as text. None if the
        machine was too busy: another time it may be rendered.
    """
    if not is_rendered(text, content_type):
        return ""
    source = _BREAKS.sub("\n", text).replace("\x00", "").encode("utf-8", "replace")
    try:
        # `-P`: nothing is imported from beside the program.
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-P", str(_PROGRAM), _kind(content_type)],
            input=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _kind(content_type: str) -> str:
    """Return what the program calls it; empty for plain text, and for what is not known."""
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    # `UNKNOWN` is what old versions of setuptools wrote where nothing was stated.
    if media in ("", "unknown", "text/x-rst"):
        return "rst"
    if media != "text/markdown":
        return ""
    variant = re.search(r"""variant\s*=\s*["']?(\w+)""", parameters, re.IGNORECASE)
    return "CommonMark" if variant is not None and variant[1].lower() == "commonmark" else "GFM"


def description_markup(text: str, html: str | None) -> Markup:
    """
    Return a description for a page.

    Args:
        text: Its source.
        html: From `rendered_html`; without any its text is shown.
    """
    rendered = cleaned_html(html) if html else None
    return _plain(text) if rendered is None else rendered


def _plain(text: str) -> Markup:
    """Show text as it is, with links where it has URLs."""
    shown = unturned(_BREAKS.sub("\n", text[:MAX_TEXT]))
    parts: list[Tag | str] = []
    end = 0
    for found in islice(_URL.finditer(shown), _MOST_LINKS):
        url = found[0].rstrip(".,;:!?)]*_")
        parts += [shown[end : found.start()], tags.a(url, href=url, rel=LINK_RELATION)]
        end = found.start() + len(url)
    parts.append(shown[end:])
    rest = [tags.p("The rest is left out.", class_="note")] if len(text) > MAX_TEXT else []
    return [tags.div(tags.pre(*parts, tabindex="0"), class_="description"), *rest]
