"""Sending clients to another index."""

from __future__ import annotations

import pytest
from zope.interface.verify import verifyObject

from twisted_index.backends.upstream.redirect import RedirectSource
from twisted_index.errors import Found
from twisted_index.interfaces import ISource
from twisted_index.testing import IndexInMemory


def elsewhere(url: str, project: str = "demo") -> Found:
    with pytest.raises(Found) as caught:
        RedirectSource(url).project_page(project)
    return caught.value


def test_it_is_a_source():
    assert verifyObject(ISource, RedirectSource("https://example.org/simple/"))


@pytest.mark.parametrize("url", ["https://example.org/simple", "https://example.org/simple/"])
def test_a_project_is_found_below_the_other_index(url):
    assert elsewhere(url).location == "https://example.org/simple/demo/"


def test_it_is_so_for_now_only():
    """A 301 is kept by clients for ever, also when the project has come here since."""
    error = elsewhere("https://example.org/simple/")

    assert error.status == 302
    assert error.headers == ((b"Location", b"https://example.org/simple/demo/"),)


def test_no_user_or_password_is_told_to_anybody():
    error = elsewhere("https://me:s3cret@example.org:8443/simple/")

    assert error.location == "https://example.org:8443/simple/demo/"
    assert "s3cret" not in error.message


def test_a_name_cannot_lead_anywhere_else():
    assert elsewhere("https://example.org/simple/", "../a?b#c").location == (
        "https://example.org/simple/..%2Fa%3Fb%23c/"
    )


def test_it_names_no_project_and_opens_no_file():
    source = RedirectSource("https://example.org/simple/")

    assert source.project_list().value.names == ()
    assert source.project_list().value is source.project_list().value
    assert source.open_file("demo", "demo-1.0.tar.gz") is None


def test_a_document_of_the_legacy_api_is_not_redirected_to_a_page():
    index = IndexInMemory(RedirectSource("https://example.org/simple/"))
    assert index.get("/simple/demo/").status == 302
    assert [index.get(url).status for url in ("/pypi/demo/json", "/pypi/demo/1.0/json")] == [404, 404]
