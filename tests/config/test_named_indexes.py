"""The settings of indexes with a name, and the mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from twisted_index.config.layers import load
from twisted_index.config.settings import Settings
from twisted_index.errors import ConfigurationError

FOLDER = 'indexes = "indexes"\n'


def read(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "index.toml").write_text(text)
    return load({"config": str(tmp_path / "index.toml")}, environ={}, folder=str(tmp_path / "here"))


def test_with_a_default_index_its_folder_is_that_of_the_index_without_a_name(tmp_path: Path):
    settings = read(tmp_path, FOLDER + 'default-index = "prod"')
    assert settings.paths == (str(tmp_path / "indexes" / "prod"),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('default-index = "prod"', "default-index has no effect without indexes."),
        ('create-indexes = "pr-*"', "create-indexes has no effect without indexes."),
        ('[upstreams.public]\nurl = "https://a.example"', "[upstreams] has no effect without indexes."),
        (FOLDER + 'default-index = "../etc"', "'../etc' is not the name of an index"),
        (FOLDER + 'default-index = "at"', "'at' is not the name of an index"),
        (FOLDER + 'path = "x"\ndefault-index = "prod"', "path has no effect with default-index"),
        (
            FOLDER + 'default-index = "prod"\nupstream = "https://a.example"',
            "upstream has no effect with default-index",
        ),
        (FOLDER + 'path = "indexes"', "is served as folder of packages and as folder of indexes"),
        (FOLDER + 'path = "indexes/prod"', "is served as folder of packages and as folder of indexes"),
        (FOLDER + 'path = "."\ncache = "indexes/cache"\nupstream = "pip"', "The cache cannot be in"),
        (FOLDER + "[upstreams.public]\ncooldown = '7d'", "the upstream 'public' has no url"),
        (FOLDER + "[upstreams.public]\nurls = 'pip'", "public: urls is not a setting; did you mean url?"),
        (FOLDER + "upstreams = 'pip'", "write each upstream below [upstreams.NAME]"),
        (FOLDER + "[upstreams.gh]\nurl = 'github:acme/tools'", "[upstreams.gh]: github:acme/tools is an"),
        (
            FOLDER + "upstream-mode = 'redirect'\n[upstreams.a]\nurl = 'pip'\ncooldown = '7d'",
            "[upstreams.a]: cooldown cannot be enforced with upstream-mode redirect",
        ),
    ],
)
def test_a_mistake_is_told_before_the_server_starts(tmp_path: Path, text: str, sentence: str):
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, text)
    assert sentence in refused.value.message


def test_a_link_to_the_folder_of_indexes_is_no_folder_of_packages(tmp_path: Path):
    (tmp_path / "indexes").mkdir()
    (tmp_path / "packages").symlink_to("indexes")
    with pytest.raises(ConfigurationError, match="as folder of indexes"):
        read(tmp_path, FOLDER + 'path = "packages"')


def test_a_folder_of_indexes_below_the_folder_of_packages_is_allowed(tmp_path: Path):
    settings = read(tmp_path, FOLDER + 'path = "."')
    assert settings.indexes == str(tmp_path / "indexes")
