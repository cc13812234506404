"""
The fault that answers a call by XML-RPC, which is how `pip search` searches.

pip shows the sentence of a fault, and ends in a traceback for any other response.
"""

from __future__ import annotations

from html import escape

from twisted_index.web.responses.response import NOSNIFF, Response

#: "Method not found" (Specification for Fault Code Interoperability).
_FAULT = """\
<?xml version="1.0"?>
<methodResponse><fault><value><struct>
<member><name>faultCode</name><value><int>-32601</int></value></member>
<member><name>faultString</name><value><string>{}</string></value></member>
</struct></value></fault></methodResponse>
"""


def is_xml_rpc(content_type: bytes | None) -> bool:
    """Whether a body with this Content-Type is such a call; pip posts it to the URL of its index."""
    return (content_type or b"").lower().lstrip().startswith(b"text/xml")


def xml_rpc_fault(url: str) -> Response:
    """
    Respond to a call: 200, as the specification of XML-RPC demands for faults.

    Args:
        url: Where the index is mounted, as the client knows it.
    """
    sentence = f"There is no search by XML-RPC here. Open {url.rstrip('/')}/ in a browser for all projects."
    headers = ((b"Content-Type", b"text/xml; charset=utf-8"), (b"Cache-Control", b"no-store"), *NOSNIFF)
    return Response(headers=headers, body=_FAULT.format(escape(sentence)).encode("utf-8"))
