"""The layout of HTML pages for people."""

from __future__ import annotations

from html import escape

from twisted_index.simple.html_writer import STYLE

#: Styles in addition to those of the simple API.
_MORE = """
body{max-width:64rem}
code{font:.8125rem ui-monospace,monospace}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem 1rem .35rem 0;border-bottom:1px solid var(--line)}
td:last-child{overflow-wrap:anywhere}
td:first-child time{white-space:nowrap}
ul{columns:16rem;padding:0;list-style:none}
"""


def render_page(title: str, content: str, *, style: str = STYLE + _MORE) -> bytes:
    """
    Render a page.

    Args:
        title: Plain text.
        content: HTML, escaped by the caller.
        style: A style sheet; empty for error pages, to keep them small.
    """
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n{f'<style>{style}</style>' if style else ''}\n</head>\n<body>\n"
        f"{content}</body>\n</html>\n"
    ).encode("utf-8", "replace")
