"""Where URLs lead: redirects, methods, and requests that mean harm (RFC 9110, RFC 9112, PEP 503)."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest

pytestmark = pytest.mark.places

JSON = "application/vnd.pypi.simple.v1+json"


@pytest.mark.parametrize("query", ["", "?", "?a=b", "?format=x%2By&a=1"])
@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("/simple", "/simple/"),
        ("/simple/demo", "/simple/demo/"),
        ("/simple/De_Mo/", "/simple/de-mo/"),
        ("/simple/de.-_mo/", "/simple/de-mo/"),
        ("/simple/De_Mo", "/simple/de-mo/"),
        ("/De_Mo/", "/de-mo/"),
        ("/demo", "/demo/"),
        ("/packages", "/packages/"),
        ("/project/demo", "/project/demo/"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_url_that_is_almost_right_leads_to_the_right_one(index, asked, meant, query, method):
    """In one step, for ever, with its query, and relative: right below any prefix and by any name."""
    reply = index.get(
        asked + query, method=method, headers={"Accept": JSON if "project" not in asked else "*/*"}
    )

    assert reply.status in (301, 308)
    location = reply.header("Location")
    parts = urlsplit(location)
    assert (parts.scheme, parts.netloc) == ("", "")
    assert not location.startswith("/")
    for prefix in ("", "/some/where"):
        led = urljoin(f"http://host{prefix}{asked}{query}", location)
        assert urlsplit(led).path == prefix + meant
        assert urlsplit(led).query == query.lstrip("?")


def test_a_redirect_never_leads_elsewhere(index):
    """Nothing from the request may become an authority or a header field."""
    for target in (
        "//evil.example",
        "//evil.example/..",
        "/simple//evil.example",
        "/%2F/evil.example",
        "/simple/a%0d%0aX:b",
    ):
        (reply,) = index.exchange(
            b"GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % target.encode()
        )
        location = reply.header("Location")
        assert reply.header("X") is None
        if location is not None:
            assert (
                urlsplit(urljoin(f"http://h{'/x' if target.startswith('//') else target}", location)).netloc
                == "h"
            ), target
            assert not location.startswith(("//", "\\", "/\\")), target


def test_a_name_that_nobody_has_is_404_in_any_spelling(index):
    """Redirected first or not, it ends at 404: the one status that means `try the next index`."""
    assert index.get("/simple/nope/", headers={"Accept": JSON}).status == 404
    reply = index.get("/simple/No_Pe/", headers={"Accept": JSON})
    if reply.status in (301, 308):
        reply = index.get(urljoin("/simple/No_Pe/", reply.header("Location")), headers={"Accept": JSON})
    assert reply.status == 404


@pytest.mark.parametrize(
    "name",
    [
        "-demo",
        "demo-",
        ".",
        "_",
        "d%20emo",
        "d%C3%A9mo",
        "demo%0A",
        "%F0%9F%90%8D",
        "%FF",
        "+demo",
        "a" * 300,
    ],
)
def test_what_cannot_be_a_project_name_is_404(index, name):
    assert index.get(f"/simple/{name}/", headers={"Accept": JSON}).status in (400, 404)


TRICKS = [
    "/simple/../secret.txt",
    "/../secret.txt",
    "/simple/demo/../../../secret.txt",
    "/simple/demo/..%2F..%2F..%2Fsecret.txt",
    "/simple/demo/..%2f..%2fsecret.txt",
    "/simple/%2e%2e/%2e%2e/secret.txt",
    "/simple/..%2Fsecret.txt",
    "/simple/..%2F..%2Fsecret.txt/",
    "/simple/..%5C..%5Csecret.txt",
    "/simple/demo/..\\..\\secret.txt",
    "/simple/demo/..%5c..%5csecret.txt",
    "/simple/demo/%2Fetc%2Fpasswd",
    "/simple/%2Fetc/passwd",
    "/simple//etc/passwd",
    "//etc/passwd",
    "/simple/demo/%00",
    "/simple/demo/demo-1.0-py3-none-any.whl%00",
    "/simple/demo%00/",
    "/simple/demo%2Fdemo-1.0-py3-none-any.whl",
    "/simple%2Fdemo%2F",
    "/simple/demo/demo-1.0-py3-none-any.whl/..%2f.metadata",
    "/simple/demo/....//secret.txt",
    "/simple/demo/%252e%252e%252fsecret.txt",
    "/simple/demo/%c0%ae%c0%ae%c0%afsecret.txt",
    "/simple/demo/%ff%fe",
    "/simple/demo/" + "a" * 300,
    "/simple/demo/" + "a/" * 2000,
    "/packages/..%2F..%2Fsecret.txt",
    "/packages/../../secret.txt",
    "/project/..%2Fsecret.txt/",
    "/..%2Fsecret.txt",
    "/simple/demo/%",
    "/simple/demo/%zz",
]


@pytest.mark.parametrize("target", TRICKS, ids=lambda target: target[:50])
def test_no_trick_in_a_path_leads_out_of_the_folder(index, content, target):
    """A segment of a URL is looked up among what is listed; it never becomes a path."""
    request = b"GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    (reply,) = index.exchange(request % target.encode())
    if "//" in target and reply.status == 301:
        (reply,) = index.exchange(request % reply.header("Location").encode())

    assert reply.status in (400, 404, 414)
    assert b"SECRET" not in reply.body
    assert b"root:" not in reply.body
    assert str(content.folder).encode() not in reply.body


@pytest.mark.parametrize(
    "target",
    ["/simple/demo/<script>alert(1)</script>", '/simple/"><script>alert(1)</script>/', "/<script>x</script>"],
)
def test_an_error_page_repeats_nothing_unescaped(index, target):
    (reply,) = index.exchange(
        b"GET %s HTTP/1.1\r\nHost: h\r\nAccept: text/html\r\nConnection: close\r\n\r\n" % target.encode()
    )

    assert reply.status in (400, 404)
    # The page has a script of its own.
    assert target[target.index("<script>") :].encode() not in reply.body


@pytest.mark.parametrize(
    "target",
    [
        "/simple/",
        "/simple/demo/",
        "/simple/demo/demo-1.0-py3-none-any.whl",
        "/simple/demo/demo-1.0-py3-none-any.whl.metadata",
        "/project/demo/",
        "/-/health",
        "/-/problems",
        "/packages/",
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "BREW"])
def test_a_method_that_is_not_known_here_is_405_with_those_that_are(index, served, target, method):
    """Allow is obligatory (RFC 9110 section 15.5.6); uv gives advice by this status."""
    reply = index.get(target, method=method)

    if served != "folder" and reply.status == 401:  # it expects tokens, and one of them may delete
        assert method == "DELETE"
        return
    assert reply.status == 405 or (method == "BREW" and reply.status == 501)
    assert reply.status == 501 or {"get", "head"} <= reply.header_tokens("Allow")


@pytest.mark.parametrize("target", ["/simple/demo/", "/simple/demo/demo-1.0-py3-none-any.whl", "/-/health"])
def test_a_post_to_what_can_only_be_read_is_405(index, target):
    """Also with a body, which does not become the next request."""
    with index.connection() as connection:
        reply = index.ask(connection, target, method="POST", body=b"GET /simple/ HTTP/1.1\r\nHost: h\r\n\r\n")
        assert reply.status == 405
        assert "get" in reply.header_tokens("Allow")
        if (reply.header("Connection") or "").lower() != "close":
            assert index.ask(connection, "/simple/demo/", headers={"Accept": JSON}).media_type == JSON


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/simple/",
        "/simple/demo/",
        "/demo/",
        "/simple/demo/demo-1.0-py3-none-any.whl",
        "/simple/demo/demo-1.0.tar.gz",
        "/simple/demo/demo-1.0-py3-none-any.whl.metadata",
        "/simple/demo/demo-1.0-py3-none-any.whl.asc",
        "/project/demo/",
        "/packages/",
        "/packages/demo-1.0-py3-none-any.whl",
        "/-/health",
        "/-/problems",
        "/simple/nope/",
        "/simple/demo/nope.whl",
        "/simple",
        "/simple/De_Mo/",
        "/nope",
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "text/html", JSON, "image/png"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_head_is_get_without_the_body(index, target, accept, coding):
    """The same status and the same fields with the same values, everywhere (RFC 9110 section 9.3.2)."""
    headers = {"Accept": accept, "Accept-Encoding": coding}

    def stable(reply):
        return sorted((name.lower(), value) for name, value in reply.fields if name.lower() != "date")

    got, head = index.get(target, headers=headers), index.head(target, headers=headers)

    assert head.body == b""
    assert head.status == got.status
    assert stable(head) == stable(got)
    assert got.body == b"" or got.header("Content-Type") is not None
    assert got.header("Content-Length") == str(len(got.body))


def test_other_sites_may_not_read_the_index(index):
    """Without `--cors` no answer names another origin, or any web page could read an intranet's index."""
    for target in ("/simple/", "/simple/demo/", "/simple/demo", "/simple/nope/", "/-/problems"):
        reply = index.get(target, headers={"Origin": "https://evil.example", "Accept": JSON})
        assert [name for name, _ in reply.fields if name.lower().startswith("access-control-")] == []


def test_with_cors_other_sites_may_read_the_simple_api(live_server, content):
    """Its redirects and errors too, and the question before is answered (Fetch standard)."""
    server = live_server(content.folder, options=["--cors"])

    for target in (
        "/simple/",
        "/simple/demo/",
        "/simple/demo",
        "/simple/De_Mo/",
        "/simple/nope/",
        "/simple//demo/",
        "/demo/json",
        "/simple/demo/demo-1.0-py3-none-any.whl.metadata",
    ):
        reply = server.get(target, headers={"Origin": "https://tool.example", "Accept": f"{JSON}, */*;q=0.1"})
        assert reply.header("Access-Control-Allow-Origin") == "*", target
        assert reply.header("Access-Control-Allow-Credentials") is None
    etag = server.get("/simple/demo/", headers={"Accept": JSON}).header("ETag")
    reply = server.get(
        "/simple/demo/", headers={"Accept": JSON, "If-None-Match": etag, "Origin": "https://tool.example"}
    )
    assert (reply.status, reply.header("Access-Control-Allow-Origin")) == (304, "*")
    for target in ("/simple/demo/", "/simple//demo/", "//"):
        before = server.get(
            target,
            method="OPTIONS",
            headers={
                "Origin": "https://tool.example",
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "if-none-match",
            },
        )
        assert before.status in (200, 204)
        assert before.header("Access-Control-Allow-Origin") == "*"
        assert "get" in before.header_tokens("Access-Control-Allow-Methods")
        assert {"if-none-match", "range"} <= before.header_tokens("Access-Control-Allow-Headers")
