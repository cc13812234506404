"""The configuration of nginx for an export. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.export.accept_patterns import NO_WEIGHT, PREFERRED, media_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# Serves this folder as a package index. Include it in the http block of nginx, or copy it to conf.d; then
# set listen, server_name and root. As it is, nginx -p FOLDER takes the folder it is given.
"""
_NEGOTIATION = """
# JSON or HTML by Accept, as PEP 691 says. A weight is the digits of q, and n for named or w for a wildcard.
"""
_CHOICE = """
map "$index_json_first$index_json_second$index_html_first" $index_page {
    default index.html;
    ~^11 index.v1.json;
    ~1$ index.v1.html;
}
"""
_SERVER = """
server {
    listen 8080;
    root .;
    absolute_redirect off;
    etag on;
    gzip off;
    types { }
    add_header Cache-Control no-cache;
    add_header X-Content-Type-Options nosniff;
    default_type application/octet-stream;
"""
_PAGE = """
    location ~ ^/simple/([a-z0-9-]+/)?%s$ {
        default_type "%s";
        gzip_static on;
        add_header Vary "%s";
        add_header Cache-Control no-cache;
        add_header X-Content-Type-Options nosniff;%s
    }
"""
_REST = """
    location /pypi/ { default_type application/json; }
    location ~ ^/(\\.|nginx\\.conf$|Caddyfile$|_headers$) { return 404; }
}
"""
_JSON, _HTML = "application/vnd.pypi.simple.v1+json", "text/html; charset=utf-8"
_V1_HTML = "application/vnd.pypi.simple.v1+html; charset=utf-8"
_BOTH = "Accept, Accept-Encoding"


def nginx_configuration(*, json_only: bool) -> str:
    """Write `nginx.conf`."""
    if json_only:
        page = _PAGE % (r"index\.html", _JSON, "Accept-Encoding", "")
        index = "    index index.html;\n"
        return _HEAD + _SERVER + index + page + _REST
    # The third is a name only, of the same page with another type.
    rename = r"""
        rewrite ^(.*)index\.v1\.html$ $1index.html break;"""
    pages = (
        _PAGE % (r"index\.html", _HTML, _BOTH, ""),
        _PAGE % (r"index\.v1\.json", _JSON, _BOTH, ""),
        _PAGE % (r"index\.v1\.html", _V1_HTML, _BOTH, rename),
    )
    choice = r"""
    rewrite ^/simple/([a-z0-9-]+/)?$ $uri$index_page last;
"""
    return "".join((_HEAD, _NEGOTIATION, *_maps(), _CHOICE, _SERVER, choice, *pages, _REST))


def _maps() -> Iterator[str]:
    for name in ("json", "v1_html", "html"):
        lines = []
        for item in media_ranges(name):
            lines += [f'    "~*{item.plain}" 1{item.kind};', f'    "~*{item.weighted}" "$1$2$3{item.kind}";']
        yield _map("$http_accept", f"$index_{name}", NO_WEIGHT, lines)
    for one, two, result in (
        ("json", "v1_html", "json_first"),
        ("json", "html", "json_second"),
        ("v1_html", "html", "html_first"),
    ):
        line = f'    "~{PREFERRED}" 1;'
        yield _map(f'"$index_{one}:$index_{two}"', f"$index_{result}", "0", [line])


def _map(source: str, target: str, default: str, lines: list[str]) -> str:
    return "\n".join((f"map {source} {target} {{", f"    default {default};", *lines, "}", ""))
