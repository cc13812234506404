"""Where the bytes of assets are kept: another origin, with signed URLs that expire."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import urllib.parse

from tests.kit.github.model import Asset, Forge
from tests.kit.github.wire import Answer, Request

KEY = b"the storage's own key"


def signature(path: str, expires: str) -> str:
    return hmac.new(KEY, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()


def _refused(status: int, code: str) -> Answer:
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code></Error>'
    return Answer(status, {"Content-Type": "application/xml"}, text.encode())


class Storage:
    """Gives bytes for signed URLs, and refuses requests with `Authorization`."""

    def __init__(self, forge: Forge) -> None:
        self._forge = forge
        self.origin = ""
        self.seconds = 300.0  # a signed URL is good so long
        self.has_ranges = True

    def url(self, asset: Asset) -> str:
        """Sign a URL for an asset's bytes."""
        path = f"/release-asset/{asset.release.repo.id}/{asset.storage_key}"
        expires = f"{time.time() + self.seconds:.3f}"
        disposition = f"attachment; filename={asset.name}"
        query = {"se": expires, "sig": signature(path, expires), "rscd": disposition}
        return f"{self.origin}{path}?{urllib.parse.urlencode(query)}"

    def answer(self, request: Request) -> Answer:
        if "authorization" in request.headers:
            return _refused(400, "InvalidAuthenticationInfo")
        expires = request.query.get("se", "")
        given = request.query.get("sig", "")
        if not hmac.compare_digest(given, signature(request.path, expires)) or time.time() > float(expires):
            return _refused(403, "AuthenticationFailed")
        asset = self._forge.stored(request.path.rpartition("/")[2])
        if asset is None:
            return _refused(404, "BlobNotFound")
        return content(request, asset, has_ranges=self.has_ranges)


def content(request: Request, asset: Asset, *, has_ranges: bool = True) -> Answer:
    """Answer with an asset's bytes, or a range of them."""
    body, etag = asset.content, f'"0x{asset.sha256[:16].upper()}"'
    headers = {
        "Content-Type": "application/octet-stream",
        "ETag": etag,
        "Content-Disposition": f"attachment; filename={asset.name}",
    }
    if not has_ranges:
        return Answer(200, headers, body)
    headers["Accept-Ranges"] = "bytes"
    wanted = request.headers.get("range")
    if wanted is None or request.headers.get("if-range", etag) != etag:
        return Answer(200, headers, body)
    return _part(wanted, headers, body)


def _part(wanted: str, headers: dict[str, str], body: bytes) -> Answer:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    if match is None or match.group(1, 2) == ("", ""):
        return Answer(200, headers, body)
    first, last = match.group(1, 2)
    start = int(first) if first else max(0, len(body) - int(last))
    end = min(int(last), len(body) - 1) if first and last else len(body) - 1
    if start >= len(body) or end < start:
        return Answer(416, headers | {"Content-Range": f"bytes */{len(body)}"})
    return Answer(206, headers | {"Content-Range": f"bytes {start}-{end}/{len(body)}"}, body[start : end + 1])
