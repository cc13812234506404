"""The files of an export that tell web servers how to serve it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.export.apache import apache_configuration
from twisted_index.export.caddy import caddy_configuration
from twisted_index.export.headers_file import headers_file
from twisted_index.export.nginx import nginx_configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.export.layout import ExportLayout

_WRITERS = {
    ".htaccess": apache_configuration,
    "Caddyfile": caddy_configuration,
    "_headers": headers_file,
    "nginx.conf": nginx_configuration,
}


def server_files(layout: ExportLayout) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file."""
    for name, write in _WRITERS.items():
        yield name, write(json_only=layout.json_only).encode()
