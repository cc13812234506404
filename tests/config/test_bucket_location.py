"""URLs of buckets."""

import pytest

from twisted_index.config.bucket_location import Location, is_bucket_url, lacks_slash, parse_location
from twisted_index.config.parsers import package_path
from twisted_index.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket", Location("s3", "bucket")),
        ("s3://bucket/", Location("s3", "bucket")),
        ("S3://bucket/team/packages/", Location("s3", "bucket", "team/packages")),
        ("az://container/packages", Location("az", "container", "packages")),
        ("gs://my.bucket/packages", Location("gs", "my.bucket", "packages")),
    ],
)
def test_a_url_names_a_bucket_and_a_prefix(url: str, expected: Location):
    assert is_bucket_url(url)
    assert parse_location(url) == expected


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///packages", "s3://b/../c", "s3://bucket/a//b", "s3://bucket/a\tb", "s3://bucket/?x=1"],
)
def test_what_is_no_place_in_a_bucket_is_refused(url: str):
    assert is_bucket_url(url)
    with pytest.raises(ConfigurationError):
        parse_location(url)


@pytest.mark.parametrize("path", ["s3:/bucket/packages", "GS:/bucket"])
def test_a_url_that_lacks_a_slash_is_no_folder(path: str):
    assert lacks_slash(path)
    with pytest.raises(ValueError, match="is not the URL of a bucket"):
        package_path("/srv", path)


@pytest.mark.parametrize("path", ["packages", "/srv/packages", "s3", "C:/packages", "https://host/packages"])
def test_any_other_path_is_a_folder(path: str):
    assert not is_bucket_url(path)
    assert not lacks_slash(path)
