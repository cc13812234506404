"""
Renders one description, as a program of its own: `python _rendering.py {GFM,CommonMark,rst}`.

It reads the source from standard input and writes sanitized HTML, or ends with a status other than 0.

Hostile Markdown and reStructuredText of 256 KiB keeps these renderers busy for minutes, and all other
threads of their process with them. So each description has a process, and that has limits.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docutils.nodes import Element

#: Seconds of processor time, and bytes of memory.
_SECONDS, _MEMORY = 5, 1 << 30
#: How much less urgent it is than the server (`nice`).
_LESS_URGENT = 10
#: Characters of the result.
_LONGEST = 1 << 20


def _main() -> int:
    """Render what standard input has."""
    _limit()
    text = sys.stdin.buffer.read().decode("utf-8", "replace")
    html = _restructured_text(text) if sys.argv[1] == "rst" else _markdown(text, sys.argv[1])
    if not html or len(html) > _LONGEST:
        return 1
    sys.stdout.buffer.write(html.encode("utf-8", "replace"))
    return 0


def _limit() -> None:
    if sys.platform == "win32":  # The time limit of the caller is all there is.
        return
    import resource

    os.nice(_LESS_URGENT)
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _markdown(text: str, variant: str) -> str | None:
    from readme_renderer import clean, markdown

    # Without `markdown.render`, which colours code: the colours are not shown, and its lexers are slow.
    return clean.clean(markdown.variants[variant](text))


def _restructured_text(text: str) -> str | None:
    from docutils.core import publish_parts
    from docutils.writers.html5_polyglot import Writer
    from readme_renderer import clean, rst

    class Translator(rst.ReadMeHTMLTranslator):
        """Writes elements for what docutils leaves to a style sheet."""

        def visit_literal(self, node: Element) -> None:
            # As the role `code` is written.
            node["classes"].append("code")
            super().visit_literal(node)

        def visit_classifier(self, node: Element) -> None:
            self.body.append(" : ")
            super().visit_classifier(node)

    writer = Writer()
    writer.translator_class = Translator
    settings = {
        **rst.SETTINGS,
        "syntax_highlight": "none",
        "section_self_link": False,
        "toc_backlinks": False,
        "warning_stream": io.StringIO(),
    }
    parts = publish_parts(text, writer=writer, settings_overrides=settings)
    return clean.clean(parts.get("docinfo", "") + parts.get("fragment", ""))


if __name__ == "__main__":
    sys.exit(_main())
