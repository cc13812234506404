"""A server whose packages lie in a bucket."""

from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from twisted_index.backends.object_store.source import ObjectSource
from twisted_index.backends.object_store.store import ObjectStore
from twisted_index.config.layers import load
from twisted_index.config.reload import ConfigReloader
from twisted_index.config.settings import Settings, UploadSettings
from twisted_index.errors import ConfigurationError, NotFound
from twisted_index.indexes.scope import Scope
from twisted_index.server.wiring import build_components

BUCKET = "s3://bucket/packages"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def test_its_source_is_made_without_asking_the_store():
    components = build_components(Settings(paths=(BUCKET,), state=None), Clock())
    assert isinstance(components.packages, ObjectSource)
    assert components.packages.bucket.url == BUCKET
    assert components.store is None


def test_it_accepts_uploads():
    settings = Settings(
        paths=(BUCKET,), state=None, uploads=UploadSettings(upload=True, anonymous_upload=True)
    )
    components = build_components(settings, Clock())
    assert isinstance(components.store, ObjectStore)


def test_without_credentials_a_sentence_says_what_to_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID"):
        build_components(Settings(paths=(BUCKET,), state=None), Clock())


def test_it_has_no_views_of_the_past():
    components = build_components(Settings(paths=(BUCKET,), state=None), Clock())
    assert components.indexes is not None
    with pytest.raises(NotFound, match="no views of the past"):
        components.indexes.find(Scope(as_of="2026-11-01"))


def test_it_follows_its_settings_as_a_folder_does(tmp_path: Path):
    settings = Settings(paths=(BUCKET,), state=str(tmp_path))
    reloader = ConfigReloader(settings, str(tmp_path / "index.toml"), lambda: settings, Clock())
    components = build_components(settings, Clock(), reloader=reloader)
    resource = components.resource
    assert resource.poll == reloader.poll
    store = components.store
    assert isinstance(store, ObjectStore)
    uploads = UploadSettings(
        upload=True, anonymous_upload=True, overwrite=("1.*",), keep_prereleases=3, min_free=7
    )
    reloader.apply(replace(settings, uploads=uploads))
    editor = store.editor
    assert (editor.overwrite, editor.keep_prereleases, editor.min_free) == (("1.*",), 3, 7)


def test_its_indexes_may_lie_in_one():
    settings = Settings(paths=(BUCKET,), indexes="s3://bucket/indexes", state=None)
    components = build_components(settings, Clock())
    assert components.indexes is not None
    assert components.indexes.lines is not None
    assert components.indexes.lines.catalog.folder == b"s3://bucket/indexes"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"path": [BUCKET], "indexes": "indexes"}, "indexes needs packages in folders"),
        ({"path": [BUCKET], "indexes": "s3://bucket"}, None),
        ({"path": ["s3://bucket/a"], "indexes": "s3://bucket/a"}, "is served as folder of packages and as"),
    ],
)
def test_a_bucket_is_not_both_one_index_and_several(options: dict[str, object], sentence: str | None):
    with pytest.raises(ConfigurationError, match=sentence or "is served as folder of packages and as"):
        load(options, environ={}, folder="/srv")
