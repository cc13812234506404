"""The table of endpoints is what holds: each URL, method and right in it is the one that requests meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.rights import SECRET, GuardedIndex, as_user
from tests.kit.uploads import CONTENT_TYPE, MemoryStore, upload_form
from twisted_index.interfaces import WHOLE_INDEX, Action
from twisted_index.testing import IndexInMemory, MemorySource
from twisted_index.web.endpoints import ENDPOINTS, Subject
from twisted_index.web.requests.routes import Endpoint, match_route

#: The URL of an index is the front page in its scope: `test_indexes.py` has its other methods.
ROUTED = {endpoint: rule for endpoint, rule in ENDPOINTS.items() if endpoint is not Endpoint.INDEX}
#: What a server is, is for everyone; to let it hand over needs the right at the server as a whole.
HAND_OVER = ("/-/replication", b"POST")
ROWS = [
    pytest.param(
        Subject.SERVER if (url, method) == HAND_OVER else rule.subject,
        url,
        method,
        action,
        id=f"{method.decode()} {url}",
    )
    for rule in ROUTED.values()
    for url in rule.urls
    for method, (action, _view) in rule.methods.items()
]
FORM = "application/x-www-form-urlencoded"


def spell(url: str) -> str:
    return url.replace("NAME", "secret-lib").replace("VERSION", "1.0").replace("FILE", SECRET.filename)


def ask(index: GuardedIndex, url: str, method: str, user: str = "", accept: str = "*/*") -> int:
    headers = {"Accept": accept} | (as_user(user) if user else {})
    body = b""
    if method == "POST":
        headers["Content-Type"], body = FORM, b"project=secret-lib&version=1.0&status=archived"
        if url.endswith("/-/promote"):
            # Into the index itself, so that all the rights are asked for there.
            to = url.removesuffix("/-/promote").removeprefix("/+")
            headers["Content-Type"] = "application/json"
            body = b'{"to": "%s", "releases": ["secret-lib==1.0"]}' % to.encode()
        if "/legacy" in url:
            headers["Content-Type"], body = CONTENT_TYPE, upload_form(SECRET.content, SECRET.filename)
    return index.get(spell(url), method=method, headers=headers, body=body).status


def test_every_endpoint_has_a_rule():
    assert set(ENDPOINTS) == set(Endpoint)


@pytest.mark.parametrize(
    ("endpoint", "url"), [(endpoint, url) for endpoint, rule in ROUTED.items() for url in rule.urls]
)
def test_a_url_of_the_table_names_its_endpoint(endpoint: Endpoint, url: str):
    assert match_route([segment.encode() for segment in spell(url)[1:].split("/")]).endpoint is endpoint


@pytest.mark.parametrize(("of", "url", "method", "action"), ROWS)
def test_a_method_needs_the_right_of_the_table_and_no_other(
    tmp_path: Path, of: Subject, url: str, method: bytes, action: Action
):
    """Alice has every right but this one, Bob this one alone, or with another that it takes too."""
    bobs = {action, *({Action.READ} if action is Action.FOLLOW else ())}
    bobs |= {Action.PROMOTE} if url == "/-/promote" else set()
    rights = "".join(
        f'[[rule]]\nallow = ["{each.value}"]\nto = "{"bob" if each in bobs else "alice"}"\n'
        + ("" if each in WHOLE_INDEX else 'projects = "*"\n')
        for each in Action
    )
    store = MemoryStore() if of is Subject.UPLOAD else None
    index = GuardedIndex(tmp_path, rights, source=MemorySource(SECRET), store=store)
    word = method.decode()
    statuses = [ask(index, url, word, user) for user in ("", "alice", "bob")]
    if of in (Subject.NOTHING, Subject.CLIENT):
        assert not {401, 403} & set(statuses)
    elif of is Subject.USER:
        assert statuses[0] == 401
        assert not {401, 403} & set(statuses[1:])
    else:
        assert statuses[:2] == [401, 403]
        assert statuses[2] not in (401, 403)
        assert statuses[2] < 500


@pytest.mark.parametrize(("of", "url", "method", "action"), ROWS)
def test_allow_names_the_methods_of_the_table(
    tmp_path: Path, of: Subject, url: str, method: bytes, action: Action
):
    index = GuardedIndex(tmp_path)
    allowed = index.get(spell(url), method="OPTIONS").headers["Allow"].split(", ")
    assert method.decode() in allowed
    assert ("HEAD" in allowed) is ("GET" in allowed)
    refused = index.get(spell(url), method="PATCH")
    assert (refused.status, refused.headers["Allow"].split(", ")) == (405, allowed)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("url", sorted({url for rule in ENDPOINTS.values() for url in rule.urls}))
def test_every_url_has_a_response_in_a_read_only_index(url: str, method: str):
    index = IndexInMemory(MemorySource(SECRET))
    assert index.get(spell(url), method=method).status < 500


def test_an_upload_url_names_nothing_to_read_where_there_are_no_uploads():
    index = IndexInMemory(MemorySource(SECRET))
    assert [index.get(url).status for url in ("/legacy/", "/legacy", "/-/yank")] == [404, 404, 404]
