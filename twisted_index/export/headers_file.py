"""The `_headers` of an export, for hosts that read one: Cloudflare Pages, Netlify. Pure."""

from __future__ import annotations

_JSON = "application/vnd.pypi.simple.v1+json"
_COMMON = """\
/simple/*
  Cache-Control: no-cache
  X-Content-Type-Options: nosniff
/pypi/*
  Cache-Control: no-cache
  Content-Type: application/json
"""
_PAGES = """\
{path}
  Content-Type: {content_type}
"""


def headers_file(*, json_only: bool) -> str:
    """Write `_headers`; such hosts do not choose by Accept, so the other format has a URL of its own."""
    name = "" if json_only else "index.v1.json"
    folders = ("/simple/", "/simple/:project/")
    pages = (_PAGES.format(path=folder + name, content_type=_JSON) for folder in folders)
    return "".join((_COMMON, *pages))
