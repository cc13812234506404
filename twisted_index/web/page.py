"""The frame of the pages that people see."""

from __future__ import annotations

from html import escape

STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}
pre,code{font:14px/1.5 ui-monospace,monospace}
pre{overflow:auto;padding:.75rem 1rem;border:1px solid #8884;border-radius:.4rem;background:#8881}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem 1rem .35rem 0;border-bottom:1px solid #8884}
ul{columns:16rem;padding:0;list-style:none}
a{text-decoration:none}a:hover{text-decoration:underline}
"""


def page(title: str, content: str) -> bytes:
    """
    Frame a page.

    Args:
        title: Plain text.
        content: HTML, escaped where it has to be.
    """
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{content}</body>\n</html>\n"
    ).encode("utf-8", "replace")
