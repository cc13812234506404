"""The words for repositories."""

from __future__ import annotations

import pytest

from twisted_index.github.repository import Forge, is_repository, parse_repository


@pytest.mark.parametrize(
    ("word", "url", "canonical"),
    [
        ("github:o/r", "https://api.github.com/repos/o/r", "github:o/r"),
        ("github:o/r/", "https://api.github.com/repos/o/r", "github:o/r"),
        (
            " GitHub:Octo-Org/.github ",
            "https://api.github.com/repos/Octo-Org/.github",
            "github:Octo-Org/.github",
        ),
        ("github+https://api.github.com:o/r", "https://api.github.com/repos/o/r", "github:o/r"),
        (
            "github+https://GHE.example/api/v3/:o/r",
            "https://ghe.example/api/v3/repos/o/r",
            "github+https://ghe.example/api/v3:o/r",
        ),
        (
            "github+http://127.0.0.1:8000:o/r",
            "http://127.0.0.1:8000/repos/o/r",
            "github+http://127.0.0.1:8000:o/r",
        ),
        ("github+http://[::1]:8000:o/r", "http://[::1]:8000/repos/o/r", "github+http://[::1]:8000:o/r"),
        ("github+http://[::1]:o/r", "http://[::1]/repos/o/r", "github+http://[::1]:o/r"),
        (
            "forgejo+https://code.example/api/v1:o.o/r_1//",
            "https://code.example/api/v1/repos/o.o/r_1",
            "forgejo+https://code.example/api/v1:o.o/r_1",
        ),
    ],
)
def test_a_word_names_a_repository_at_an_api(word: str, url: str, canonical: str):
    repository = parse_repository(word)

    assert is_repository(word)
    assert (repository.url, repository.word) == (url, canonical)
    assert parse_repository(repository.word) == repository
    assert repository.forge is (Forge.FORGEJO if word.startswith("forgejo") else Forge.GITHUB)


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("github:https://github.com/o/r", "write github:o/r"),
        ("https://github.com/o/r", "write github:o/r"),
        ("https://github.com/o/r.git/", "write github:o/r"),
        ("http://www.github.com/o/r/releases/tag/v1.0", "write github:o/r"),
        ("git@github.com:o/r.git", "write github:o/r"),
        ("https://s3cret@github.com/o/r", "write github:o/r"),
        ("https://user:s3cret@github.com/o/r.git", "write github:o/r"),
        ("https://github.com/", "write github:OWNER/REPO"),
        ("github:o/r.git", "no .git"),
        ("github:o", "names no repository"),
        ("github:o/r/releases", "names no repository"),
        ("github:o/..", "names no repository"),
        ("github:", "names no repository"),
        ("github:ö/r", "names no repository"),
        ("github+https://ghe.example/api/v3", "names no repository"),
        ("github+http://127.0.0.1:8000", "names no repository"),
        ("github+ftp://ghe.example:o/r", "neither http nor https"),
        ("github+https://github.com:o/r", "write github:OWNER/REPO"),
        ("github+https://ghe.example/api/v3?a=b:o/r", "no query"),
        ("github+https://ghe.example/api/v3#a:o/r", "no query"),
        ("forgejo:o/r", "the URL of the server's API is missing"),
    ],
)
def test_what_people_write_instead_is_refused_with_what_to_write(word: str, advice: str):
    assert is_repository(word)
    with pytest.raises(ValueError, match=r";|write") as refusal:
        parse_repository(word)

    assert advice in str(refusal.value)


@pytest.mark.parametrize(
    "word",
    [
        "github+https://me:s3cret@ghe.example/api/v3:o/r",
        "github+https://s3cret@ghe.example:o/r",
        "github:s3cret@o/r",
        "https://github.com/s3cret@o/r",
        "https://s3cret@github.com/o/r",
        "github+https://ghe.example:s3cret@o/r",
    ],
)
def test_a_user_or_token_is_refused_and_not_shown(word: str):
    with pytest.raises(ValueError, match=r";|write") as refusal:
        parse_repository(word)

    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "word", ["https://index.example/simple/", "pip", "githubby:o/r", "https://github.example/o/r"]
)
def test_other_words_are_no_repositories(word: str):
    assert not is_repository(word)
