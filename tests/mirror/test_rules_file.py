"""The file of `twisted-index mirror`."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from twisted_index.errors import ConfigurationError
from twisted_index.mirror.rules import SelectRule
from twisted_index.mirror.rules_file import MirrorSettings, read_mirror_file
from twisted_index.simple.names import DistributionType
from twisted_index.simple.retention import DeletionLimit

HEAD = 'from = "pip"\ninto = "mirror"\n'


def read(folder: Path, text: str, head: str = HEAD) -> MirrorSettings:
    file = folder / "mirror.toml"
    file.write_text(head + text, encoding="utf-8")
    return read_mirror_file(str(file))


def refusal(folder: Path, text: str, head: str = HEAD) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(folder, text, head)
    return caught.value.message.removeprefix(f"{folder}/mirror.toml: ")


def test_paths_are_relative_to_the_file(tmp_path: Path):
    settings = read(tmp_path, 'state = "state"\n[[select]]\nrequirements = "r.txt"\n')
    assert settings.into == str(tmp_path / "mirror")
    assert settings.state == str(tmp_path / "state")
    assert settings.rules.rules[0].requirements == (str(tmp_path / "r.txt"),)


def test_all_settings_are_read(tmp_path: Path):
    settings = read(
        tmp_path,
        'exact = true\nmax-delete = 7\ncooldown = "7d"\njoin = true\njobs = 8\n'
        '[[select]]\nprojects = ["NumPy", "acme_*"]\nversions = ">=1.26"\nprereleases = true\nlatest = 3\n'
        'latest-per-minor = 1\nkinds = ["wheel"]\npythons = ["3.12"]\nplatforms = ["any"]\n'
        'max-size = "500MB"\n',
    )
    assert settings.exact
    assert settings.join
    assert (settings.max_delete, settings.jobs) == (DeletionLimit(7, is_percent=False), 8)
    assert settings.rules.cooldown == 7 * 86400
    assert settings.rules.rules == (
        SelectRule(
            number=1,
            projects=("numpy", "acme-*"),
            versions=SpecifierSet(">=1.26"),
            prereleases=True,
            latest=3,
            latest_per_minor=1,
            kinds=frozenset({DistributionType.WHEEL}),
            pythons=("3.12",),
            platforms=("any",),
            max_size=500_000_000,
        ),
    )


def test_a_rule_that_names_nothing_is_about_all_projects(tmp_path: Path):
    assert read(tmp_path, "[[select]]\nlatest = 1\n").rules.rules == (
        SelectRule(number=1, projects=("*",), latest=1),
    )


def test_one_run_may_delete_a_twentieth_unless_the_file_says_otherwise(tmp_path: Path):
    limit = read(tmp_path, "").max_delete
    assert str(limit) == "5%"
    assert not limit.forbids(5, 100)
    assert limit.forbids(6, 100)


def test_what_is_missing_is_named(tmp_path: Path):
    assert refusal(tmp_path, "", 'into = "m"\n') == 'from is missing; write it like from = "pip".'
    assert refusal(tmp_path, "", 'from = "pip"\n') == 'into is missing; write it like into = "mirror".'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("exactly = true\n", "exactly is not a setting; did you mean exact?"),
        ("[[select]]\nproject = 'a'\n", "select: rule 1: project is not a setting; did you mean projects?"),
        ("[select]\nprojects = 'a'\n", "select: these are tables; write each rule below [[select]]."),
        (
            "max-delete = '5 percent'\n",
            "max-delete: '5 percent' is neither a number nor a percentage such as 5%.",
        ),
        ("jobs = 17\n", "jobs: 17 is more than 16."),
        (
            "[[select]]\nversions = 'new'\n",
            "select: rule 1: versions: 'new' are not versions as in PEP 440; write them like \">=1.26,<3\".",
        ),
        (
            "[[select]]\nkinds = ['egg']\n",
            "select: rule 1: kinds: 'egg' is not a kind of file; write wheel or sdist.",
        ),
        ("[[select]]\nkinds = []\n", "select: rule 1: kinds: the list is empty."),
        ("[[select]]\nlatest = 0\n", "select: rule 1: latest: 0 is not a whole number from 1."),
        (
            "[[select]]\nprojects = 'a'\nrequirements = 'r.txt'\n",
            "select: rule 1: it has projects and requirements; write a rule for each.",
        ),
        (
            "[[select]]\nversions = '>1'\nrequirements = 'r.txt'\n",
            "select: rule 1: the requirements say which versions; leave versions out.",
        ),
        (
            "[[select]]\nprojects = 'a'\ndependencies = true\n",
            "select: rule 1: dependencies are those of requirements; name a file of them.",
        ),
        (
            "[[select]]\nrequirements = 'r.txt'\ndependencies = true\n",
            "select: rule 1: dependencies differ between Pythons and platforms; name those for which they are"
            " needed.",
        ),
        (
            "[[select]]\nprojects = 'a'\nskip = true\nlatest = 1\n",
            "select: rule 1: it skips its projects, so it can only have projects beside skip.",
        ),
        (
            "[[select]]\nprojects = '*'\n[[select]]\nprojects = ['b', 'acme-*']\n",
            "select: rule 2: it never decides, since rule 1 already matches b, acme-*; the more special rule"
            " comes first.",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(tmp_path: Path, text: str, sentence: str):
    assert refusal(tmp_path, text) == sentence


def test_the_password_of_a_source_is_not_shown(tmp_path: Path):
    assert "secret" not in refusal(tmp_path, "", 'from = "https://me:secret@host:0/"\ninto = "m"\n')
