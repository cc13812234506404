"""The `.htaccess` of an export, for Apache. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.export.accept_patterns import NO_WEIGHT, PREFERRED, media_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# Serves this folder as a package index; needs AllowOverride All, mod_rewrite and mod_headers. Without the
# two modules the pages are HTML.
DirectoryIndex index.html
RemoveEncoding .gz
RemoveType .gz .tgz
<FilesMatch "\\.(whl|gz|zip|bz2|metadata|asc|provenance)$">
ForceType application/octet-stream
</FilesMatch>
<FilesMatch "^json$">
ForceType application/json
</FilesMatch>
<FilesMatch "^(\\.|nginx\\.conf$|Caddyfile$|_headers$)">
Require all denied
</FilesMatch>
"""
_TYPES = """\
<FilesMatch "^index\\.html(\\.gz)?$">
ForceType "%s"
</FilesMatch>
<FilesMatch "^index\\.v1\\.json(\\.gz)?$">
ForceType "%s"
</FilesMatch>
<FilesMatch "^index\\.(html|v1\\.json)\\.gz$">
AddEncoding gzip .gz
</FilesMatch>
<IfModule mod_headers.c>
Header set Cache-Control no-cache
Header set X-Content-Type-Options nosniff
<FilesMatch "^index\\.(html|v1\\.json)(\\.gz)?$">
Header set Vary "%s"
</FilesMatch>
"""
_V1_HTML = """\
Header set Content-Type "application/vnd.pypi.simple.v1+html; charset=utf-8" env=REDIRECT_index_is_v1
"""
_REWRITE = """\
</IfModule>
<IfModule mod_rewrite.c>
RewriteEngine On
"""
_FORMATS = """\
# JSON or HTML by Accept, as PEP 691 says. A weight is the digits of q, and n for named or w for a wildcard.
"""
_CHOICE = """\
RewriteRule ^simple/([a-z0-9-]+/)?$ - [E=index_page:index.html]
RewriteCond %{{ENV:index_v1_html}}:%{{ENV:index_html}} {preferred}
RewriteRule ^simple/([a-z0-9-]+/)?$ - [E=index_is_v1:1]
RewriteCond %{{ENV:index_json}}:%{{ENV:index_html}} {preferred}
RewriteCond %{{ENV:index_json}}:%{{ENV:index_v1_html}} {preferred}
RewriteRule ^simple/([a-z0-9-]+/)?$ - [E=index_page:index.v1.json,E=!index_is_v1]
"""
_BLANKS, _NOT_ZERO = r"[ \t]*", r"(?!0(?:\.0*)?[ \t]*(?:,|$))"
_GZIP = f"(?:^|,){_BLANKS}(?:x-)?gzip{_BLANKS}(?:;{_BLANKS}q={_NOT_ZERO}[^,]*)?(?:,|$)"
_COMPRESSED = f"""\
RewriteCond %{{HTTP:Accept-Encoding}} "{_GZIP}" [NC]
"""
_PAGES = """\
RewriteCond %{REQUEST_FILENAME}%{ENV:index_page}.gz -f
RewriteRule ^simple/([a-z0-9-]+/)?$ %{REQUEST_URI}%{ENV:index_page}.gz [END]
RewriteRule ^simple/([a-z0-9-]+/)?$ %{REQUEST_URI}%{ENV:index_page} [END]
</IfModule>
"""
_JSON, _HTML = "application/vnd.pypi.simple.v1+json", "text/html; charset=utf-8"


def apache_configuration(*, json_only: bool) -> str:
    """Write `.htaccess`."""
    if json_only:
        page = "RewriteRule ^simple/([a-z0-9-]+/)?$ - [E=index_page:index.html]\n"
        types = _TYPES % (_JSON, _JSON, "Accept-Encoding")
        return "".join((_HEAD, types, _REWRITE, page, _COMPRESSED, _PAGES))
    types = _TYPES % (_HTML, _JSON, "Accept, Accept-Encoding")
    choice = _CHOICE.format(preferred=PREFERRED)
    return "".join((_HEAD, types, _V1_HTML, _REWRITE, _FORMATS, *_weights(), choice, _COMPRESSED, _PAGES))


def _weights() -> Iterator[str]:
    """Set the weights; the last rule that matches counts, so the most specific range comes last."""
    for name in ("json", "v1_html", "html"):
        yield f"RewriteRule ^simple/([a-z0-9-]+/)?$ - [E=index_{name}:{NO_WEIGHT}]\n"
        for item in reversed(media_ranges(name)):
            yield _rule(item.weighted, f"index_{name}:%1%2%3{item.kind}")
            yield _rule(item.plain, f"index_{name}:1{item.kind}")


def _rule(pattern: str, variable: str) -> str:
    condition = f'RewriteCond %{{HTTP:Accept}} "{pattern}" [NC]\n'
    return f"{condition}RewriteRule ^simple/([a-z0-9-]+/)?$ - [E={variable}]\n"
