"""Lists of S3: keys that no folder could have hide no others, and what is no whole list is none."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import pytest

from twisted_index.backends.object_store import s3_listing
from twisted_index.backends.object_store.bucket import Listing
from twisted_index.backends.object_store.s3_listing import list_objects

ODD = ("p/foo/ta\tb", "p/foo/\x01c", "p/foo/../x", "p/foo//y", "p//z", "p/foo/./w", "p/lead/")
USUAL = ("p/foo/a b+c.whl", "p/foo/é%2F.whl", "p/top.whl")
FOLDERS = ("p/", "p/foo/", "p/empty/")


class Store:
    """Lists so many keys a page, as S3 does; `answer` changes what it sends."""

    def __init__(self, *keys: str, page: int = 2, is_encoding: bool = True) -> None:
        self.keys = sorted(keys)
        self.page = page
        self.is_encoding = is_encoding
        self.requests: list[Mapping[str, str]] = []

    def get(self, fields: Mapping[str, str]) -> bytes:
        self.requests.append(fields)
        prefix, delimiter = fields["prefix"], fields.get("delimiter", "")
        found = set()
        for key in (key for key in self.keys if key.startswith(prefix)):
            rest = key.removeprefix(prefix)
            found.add(prefix + rest.split("/")[0] + "/" if delimiter and "/" in rest else key)
        after = max(fields.get("continuation-token", ""), fields.get("start-after", ""))
        keys = sorted(each for each in found if each > after)
        entries = "".join(map(self._folder if delimiter else self._object, keys[: self.page]))
        return self.answer(self.write(entries, keys[self.page - 1] if len(keys) > self.page else ""))

    def write(self, entries: str, token: str = "") -> bytes:
        encoding = "<EncodingType>url</EncodingType>" if self.is_encoding else ""
        # So Ceph writes control characters in a token.
        token = "".join(each if each >= " " else f"&#x{ord(each):02x};" for each in token)
        more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
        return (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>{encoding}{entries}{more}"
            "</ListBucketResult>"
        ).encode()

    def answer(self, body: bytes) -> bytes:
        return body

    def _object(self, key: str) -> str:
        size = 0 if key in FOLDERS else 3
        return (
            f"<Contents><Key>{self._name(key)}</Key><Size>{size}</Size><ETag>&quot;abc&quot;</ETag>"
            "<LastModified>2026-11-30T06:00:20.495Z</LastModified></Contents>"
        )

    def _folder(self, key: str) -> str:
        if not key.endswith("/"):
            return self._object(key)
        return f"<CommonPrefixes><Prefix>{self._name(key)}</Prefix></CommonPrefixes>"

    def _name(self, key: str) -> str:
        return quote(key, safe="/").replace("%20", "+") if self.is_encoding else key


class IgnoringStore(Store):
    """Begins all lists at their first key."""

    def get(self, fields: Mapping[str, str]) -> bytes:
        return super().get({name: value for name, value in fields.items() if name != "start-after"})


def _list(
    store: Store, prefix: str = "", *, level: bool = False, limit: int | None = None, after: str | None = None
) -> Listing:
    return list_objects(store.get, "p/", prefix, level=level, limit=limit, after=after)


@pytest.mark.parametrize("page", [1, 2, 100])
def test_keys_that_no_folder_could_have_hide_no_others(page: int):
    found = _list(Store(*ODD, *USUAL, page=page))
    assert set(found.objects) == {key.removeprefix("p/") for key in USUAL}
    assert set(found.unusable) == {
        "foo/ta\\tb",
        "foo/\\x01c",
        "foo/../x",
        "foo//y",
        "/z",
        "foo/./w",
        "lead/",
    }
    assert (found.is_complete, found.requests) == (True, -(-10 // page))


def test_a_level_has_its_objects_and_folders():
    store = Store(*ODD, *USUAL)
    level, inside = _list(store, level=True), _list(store, "foo", level=True)
    assert (set(level.objects), level.folders, level.unusable) == ({"top.whl"}, {"foo", "lead"}, ("/",))
    assert set(inside.objects) == {"foo/a b+c.whl", "foo/é%2F.whl"}


def test_what_only_says_that_there_is_a_folder_is_no_object():
    found = _list(Store(*FOLDERS, "p/foo/a.whl"))
    assert (set(found.objects), found.unusable) == ({"foo/a.whl"}, ())


def test_a_prefix_that_is_the_beginning_of_another_lists_its_own():
    assert set(_list(Store("p/pack/x", "p/packages/y", "p/pack"), "pack").objects) == {"pack/x"}


def test_keys_are_read_as_they_are_if_the_store_does_not_encode_them():
    assert set(_list(Store("p/a+b%20c.whl", is_encoding=False)).objects) == {"a+b%20c.whl"}


def test_a_limit_ends_a_list_at_a_page_of_whatever_keys():
    assert not _list(Store(*ODD), limit=0).is_complete


def test_a_list_may_begin_after_any_key_and_end_at_a_page():
    listing = _list(Store("p/a", "p/b", "p/c", "p/d"), limit=0, after="aa")
    assert set(listing.objects) == {"b", "c"}
    assert not listing.is_complete


def test_one_that_may_end_has_a_key_that_can_be_used():
    assert set(_list(Store("p/a", "p/b//x", "p/b//y", "p/c"), limit=0, after="a").objects) == {"c"}


def test_a_store_that_begins_elsewhere_has_sent_no_list():
    with pytest.raises(ValueError, match="begin"):
        _list(IgnoringStore("p/a", "p/b"), after="aa")


def test_an_object_has_what_the_store_says_of_it():
    found = _list(Store("p/foo/a.whl")).objects["foo/a.whl"]
    assert (found.size, found.etag, found.modified_ns) == (3, "abc", 1_796_018_420_495_000_000)


def test_a_hundred_thousand_keys_are_a_whole_list():
    keys = [f"p/project{number // 10}/{number}.whl" for number in range(100_000)]
    found = _list(Store(*keys, page=100_000))
    assert len(found.objects) == 100_000


class _Cut(Store):
    """Breaks off in the middle of its second page."""

    def answer(self, body: bytes) -> bytes:
        return body[:-40] if len(self.requests) == 2 else body


class _Endless(Store):
    """Goes on at the same place for ever."""

    def get(self, fields: Mapping[str, str]) -> bytes:
        return super().get({**fields, "continuation-token": ""})


class _Circle(Store):
    """Sends the same keys with ever new tokens."""

    def get(self, fields: Mapping[str, str]) -> bytes:
        self.requests.append(fields)
        return self.write(self._object(self.keys[0]), f"token{len(self.requests)}")


class _Silent(Store):
    """Says that a list goes on, but not where."""

    def answer(self, body: bytes) -> bytes:
        start = body.index(b"<NextContinuationToken>")
        return body[:start] + b"</ListBucketResult>"


def test_a_list_of_more_keys_than_any_bucket_has_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(s3_listing, "_MAX_KEYS", 2)
    with pytest.raises(ValueError, match="does not end"):
        _list(Store(*USUAL, "p/x", page=1))


@pytest.mark.parametrize("kind", [_Cut, _Endless, _Circle, _Silent])
def test_a_list_that_does_not_come_to_its_end_is_none(kind: type[Store]):
    with pytest.raises(ValueError, match="list"):
        _list(kind(*USUAL, page=1))


_NOTHING = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html><body><p>Sign in to this network</p></body></html>",
        b"<!DOCTYPE html><html></html>",
        b"<Error><Code>InternalError</Code></Error>",
        b"<ListBucketResult></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>false</Is",
        b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult/>',
        f"<!DOCTYPE a>{_NOTHING}".encode("utf-16"),
        b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p/a</Key></Contents></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents/></ListBucketResult>",
    ],
)
def test_an_answer_that_is_no_list_is_an_error_and_not_an_empty_list(body: bytes):
    with pytest.raises(ValueError, match=r"list|isoformat"):
        list_objects(lambda _fields: body, "p/", "", level=False, limit=None)


def test_objects_that_were_not_listed_are_an_error():
    with pytest.raises(ValueError, match="not listed"):
        list_objects(
            lambda _fields: Store().write("<Contents><Key>q/a</Key></Contents>"),
            "p/",
            "",
            level=False,
            limit=None,
        )
