"""The `Caddyfile` of an export. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.export.accept_patterns import media_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# Serves this folder as a package index: caddy run in this folder, or copy it and set address and root.
:8080 {
	root * .
	header Cache-Control no-cache
	header X-Content-Type-Options nosniff
	@hidden path /.* /nginx.conf /Caddyfile /_headers
	handle @hidden {
		error 404
	}
"""
_FORMATS = """
	# JSON or HTML by Accept, as PEP 691 says: the weight of each format, and 1 if it was named.
"""
_CHOICE = """
	@index path_regexp ^/simple/([a-z0-9-]+/)?$
	handle @index {{
		header Vary "Accept, Accept-Encoding"
		@json expression `({json_v1}) && ({json_html})`
		handle @json {{
			rewrite * {{path}}index.v1.json
			header {{
				Content-Type application/vnd.pypi.simple.v1+json
				defer
			}}
			file_server {{
				precompressed gzip
			}}
		}}
		@v1_html expression `{v1_html}`
		handle @v1_html {{
			rewrite * {{path}}index.html
			header {{
				Content-Type "application/vnd.pypi.simple.v1+html; charset=utf-8"
				defer
			}}
			file_server {{
				precompressed gzip
			}}
		}}
		handle {{
			rewrite * {{path}}index.html
			header {{
				Content-Type "text/html; charset=utf-8"
				defer
			}}
			file_server {{
				precompressed gzip
			}}
		}}
	}}
"""
_JSON_ONLY = """
	@index path_regexp ^/simple/([a-z0-9-]+/)?$
	handle @index {
		header Vary Accept-Encoding
		header {
			Content-Type application/vnd.pypi.simple.v1+json
			defer
		}
		file_server {
			precompressed gzip
		}
	}
"""
_REST = """
	@documents path_regexp ^/pypi/
	handle @documents {
		header {
			Content-Type application/json
			defer
		}
		file_server
	}
	handle {
		@files path_regexp ^/simple/[^/]+/[^/]+\\.[^/]+$
		header @files {
			Content-Type application/octet-stream
			defer
		}
		file_server
	}
}
"""


def caddy_configuration(*, json_only: bool) -> str:
    """Write the `Caddyfile`."""
    if json_only:
        return _HEAD + _JSON_ONLY + _REST
    choice = _CHOICE.format(
        json_v1=_preferred("json", "v1_html"),
        json_html=_preferred("json", "html"),
        v1_html=_preferred("v1_html", "html"),
    )
    return "".join((_HEAD, _FORMATS, *_maps(), choice, _REST))


def _preferred(one: str, two: str) -> str:
    first, second = (f"double({{weight_{name}}})" for name in (one, two))
    equal = f'{first} == {second} && {{named_{one}}} == "1" && {first} > 0.0'
    return f"{first} > {second} || {equal}"


def _maps() -> Iterator[str]:
    for name in ("json", "v1_html", "html"):
        yield f"\tmap {{header.Accept}} {{weight_{name}}} {{named_{name}}} {{\n"
        for item in media_ranges(name):
            named = int(item.kind == "n")
            yield f'\t\t"~(?i){item.plain}" 1 {named}\n'
            yield f'\t\t"~(?i){item.weighted}" "${{1}}${{2}}.${{3}}" {named}\n'
        yield "\t\tdefault 0 0\n\t}\n"
