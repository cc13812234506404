"""Regular expressions choose a format as the server does, for any value of Accept."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.export.accept_patterns import NO_WEIGHT, PREFERRED, media_ranges
from twisted_index.http_semantics.negotiation import Format, simple_format

JSON, V1_HTML = "application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+html"
NAMES = [JSON, V1_HTML, "text/html", "*/*", "application/*", "text/*", "image/png", "application/json"]
WEIGHTS = ["", *(f";q={q}" for q in ("1", "1.000", "0", "0.0", "0.5", "0.50", "0.91", "0.9", "0.001", "1.5"))]
WEIGHTS += ["; q=0.3", ";Q=0.25", "; charset=utf-8", ";level=1", ";q=", ";q=0.2;x=1"]

elements = st.tuples(st.sampled_from(NAMES), st.sampled_from(WEIGHTS)).map("".join)
#: Each name once: of several weights for one name these expressions take the first.
accepts = st.lists(elements, max_size=5, unique_by=lambda text: text.partition(";")[0]).map(", ".join)


def weight(name: str, accept: str) -> str:
    """Find the weight of a format as the maps of nginx do."""
    for item in media_ranges(name):
        if re.search(item.plain, accept, re.IGNORECASE):
            return f"1{item.kind}"
        if found := re.search(item.weighted, accept, re.IGNORECASE):
            return "".join(group or "" for group in found.groups()) + item.kind
    return NO_WEIGHT


def chosen(accept: str) -> Format:
    json, v1_html, html = (weight(name, accept) for name in ("json", "v1_html", "html"))
    # Python spells a reference to a group before a digit in its own way.
    preferred = re.compile(re.sub(r"\\g\{(\d)\}", r"(?:\\\1)", PREFERRED)).search
    if preferred(f"{json}:{v1_html}") and preferred(f"{json}:{html}"):
        return Format.JSON
    return Format.HTML_V1 if preferred(f"{v1_html}:{html}") else Format.HTML


@given(accepts)
@example("*/*;q=0.001, " + JSON + ";q=0.0011")
@example(JSON + ";q=0, */*;q=0")
@example("text/html;q=0.5, " + JSON + ";q=0.50")
@examples(2000)
def test_the_expressions_choose_what_the_server_chooses(accept: str):
    assert chosen(accept) is simple_format(accept.encode())
