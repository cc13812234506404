"""Names of projects, files and versions, read from text alone."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import parse_wheel_filename
from packaging.version import InvalidVersion, Version

from twisted_index.simple.model import File
from twisted_index.simple.names import (
    DistributionType,
    InvalidFilename,
    canonical_version,
    claimed_project,
    is_temporary,
    is_valid_name,
    looks_like_distribution,
    normalize,
    parse_filename,
    sorted_files,
    sorted_versions,
    version_sort_key,
)

# -- Project names


@pytest.mark.parametrize("spelling", ["foo-bar", "Foo.Bar", "foo_bar", "FOO--bar", "foo-_.bar"])
def test_all_spellings_of_a_project_normalize_to_one(spelling: str) -> None:
    assert normalize(spelling) == "foo-bar"


@given(st.text())
def test_normalizing_agrees_with_the_expression_of_pep_503(name: str) -> None:
    assert normalize(name) == re.sub(r"[-_.]+", "-", name).lower()


@given(st.text())
def test_normalizing_twice_is_normalizing_once(name: str) -> None:
    assert normalize(normalize(name)) == normalize(name)


@pytest.mark.parametrize("name", ["a", "0", "A.b-c_d", "a" * 200, "zope.interface", "a--b"])
def test_a_name_of_ascii_letters_digits_and_inner_separators_is_valid(name: str) -> None:
    assert is_valid_name(name)


@pytest.mark.parametrize(
    "name", ["", "-", "-a", "a-", "_a", "a.", "a b", "a\n", "é", "\u212aelvin", "a/b", "a+b", "a!b", "٣"]
)
def test_a_name_with_anything_else_is_not_valid(name: str) -> None:
    assert not is_valid_name(name)


# -- Wheels


def test_a_wheel_name_tells_project_version_tags_and_kind() -> None:
    wheel = parse_filename("Demo_Pkg-1.0-py3-none-any.whl")

    assert (wheel.project, wheel.version, wheel.kind) == ("demo-pkg", "1.0", DistributionType.WHEEL)
    assert (wheel.build, wheel.tags, wheel.extension) == ("", "py3-none-any", ".whl")


def test_the_file_name_is_kept_as_it_was_given() -> None:
    assert parse_filename("Demo-01.0-py3-none-any.whl").filename == "Demo-01.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        ("1.0", "1.0"),
        ("1.0.0", "1.0.0"),
        ("01.0", "1.0"),
        ("v1.0", "1.0"),
        ("1.0RC1", "1.0rc1"),
        ("1!6.0", "1!6.0"),
        ("1.0+loc.1", "1.0+loc.1"),
        ("1.0+ubuntu_1", "1.0+ubuntu.1"),
    ],
)
def test_a_version_is_given_in_normal_form(spelled: str, normal: str) -> None:
    assert parse_filename(f"demo-{spelled}-py3-none-any.whl").version == normal


@pytest.mark.parametrize(("spelled", "build"), [("1", "1"), ("1a", "1a"), ("007", "7"), ("0", "0")])
def test_a_build_tag_starts_with_a_digit_and_has_no_leading_zeros(spelled: str, build: str) -> None:
    assert parse_filename(f"demo-2.0-{spelled}-py3-none-any.whl").build == build


def test_compressed_tag_sets_in_another_order_are_the_same_tags() -> None:
    one = parse_filename("demo-1.0-py2.py3-none-manylinux1_x86_64.linux_x86_64.whl")
    other = parse_filename("demo-1.0-py3.py2-none-linux_x86_64.manylinux1_x86_64.whl")

    assert one.tags == other.tags
    assert one.identity == other.identity


def test_tags_of_another_platform_make_another_file() -> None:
    linux = parse_filename("demo-1.0-py3-none-linux_x86_64.whl")
    mac = parse_filename("demo-1.0-py3-none-macosx_11_0_arm64.whl")

    assert linux.identity != mac.identity


def test_a_platform_that_nobody_has_heard_of_passes() -> None:
    assert parse_filename("demo-1.0-py3-none-plan9_riscv128.whl").tags == "py3-none-plan9_riscv128"


def test_a_tag_set_that_would_multiply_into_thousands_stays_as_small_as_its_name() -> None:
    many = ".".join(f"t{i}" for i in range(20))

    assert len(parse_filename(f"demo-1.0-{many}-{many}-{many}.whl").tags) < 255


@pytest.mark.parametrize(
    "filename",
    [
        "demo-7.0-py3-none.whl",
        "demo-2024-01-01-py3-none-any.whl",
        "demo_-4.0-py3-none-any.whl",
        "demo__x-4.0-py3-none-any.whl",
        "-1.0-py3-none-any.whl",
        "demo-one-py3-none-any.whl",
        "demo--py3-none-any.whl",
        "foo-bar-1.0-py3-none-any.whl",
        "demo-1.0-a1-py3-none-any.whl",
        "demo-1.0--py3-none-any.whl",
        "demo-1.0-py3--any.whl",
        "demo-1.0-py3..py2-none-any.whl",
        "demo-1.0-1-2-none-any.whl",
        "demo-1.0-py3-none-any!.whl",
        "demo.whl",
        ".whl",
    ],
)
def test_a_wheel_that_installers_would_pass_over_is_refused(filename: str) -> None:
    with pytest.raises(InvalidFilename):
        parse_filename(filename)


def test_upper_case_extensions_are_refused_with_the_advice_to_rename() -> None:
    with pytest.raises(InvalidFilename) as refused:
        parse_filename("demo-5.0-py3-none-any.WHL")

    assert "upper case" in refused.value.reason
    assert "lower case" in refused.value.advice


_PARTS = st.from_regex(r"[a-zA-Z0-9._]{1,6}", fullmatch=True)


@given(name=_PARTS, version=st.from_regex(r"[0-9][a-c0-9.+!]{0,6}", fullmatch=True), platform=_PARTS)
def test_a_wheel_that_is_accepted_is_read_as_packaging_reads_it(
    name: str, version: str, platform: str
) -> None:
    filename = f"{name}-{version}-py3.cp39-abi3-{platform}.whl"
    try:
        ours = parse_filename(filename)
    except InvalidFilename:
        return
    project, theirs, _, tags = parse_wheel_filename(filename)

    assert (ours.project, ours.version) == (project, str(theirs))
    interpreters, abis, platforms = (part.split(".") for part in ours.tags.split("-"))
    assert {(t.interpreter, t.abi, t.platform) for t in tags} == {
        (i, a, p) for i in interpreters for a in abis for p in platforms
    }


# -- Sdists


@pytest.mark.parametrize("extension", [".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar"])
def test_every_archive_that_both_pip_and_uv_install_is_an_sdist(extension: str) -> None:
    sdist = parse_filename("demo-1.0" + extension)

    assert (sdist.project, sdist.version, sdist.kind) == ("demo", "1.0", DistributionType.SDIST)
    assert (sdist.build, sdist.tags, sdist.extension) == ("", "", extension)


@pytest.mark.parametrize(
    "filename",
    [
        *("demo-1.0" + e for e in (".tar.zst", ".tar.Z", ".egg", ".exe", ".msi", ".rpm", ".TAR.GZ", ".txt")),
        "demo-1.0.tar.gz.asc",
        "demo-1.0-py3-none-any.whl.metadata",
        "demo-notaversion.tar.gz",
        "demo.tar.gz",
        "-1.0.tar.gz",
        "demo--1.0.tar.gz",
        "demo-.tar.gz",
        ".demo-1.0.tar.gz",
        ".tar.gz",
    ],
)
def test_what_is_no_sdist_for_installers_is_refused(filename: str) -> None:
    with pytest.raises(InvalidFilename):
        parse_filename(filename)


@pytest.mark.parametrize(
    ("filename", "project", "version"),
    [
        ("foo-bar-1.0.tar.gz", "foo-bar", "1.0"),
        ("foo_bar-1.0.tar.gz", "foo-bar", "1.0"),
        ("a-1-1.tar.gz", "a-1", "1"),
        ("demo-1.0-beta1.tar.gz", "demo", "1.0b1"),
        ("demo-1.0-1.tar.gz", "demo", "1.0.post1"),
        ("demo-1.0+loc-1.tar.gz", "demo", "1.0+loc.1"),
        ("Demo-v2.tar.gz", "demo", "2"),
    ],
)
def test_an_sdist_name_is_cut_where_it_most_likely_ends(filename: str, project: str, version: str) -> None:
    sdist = parse_filename(filename)

    assert (sdist.project, sdist.version) == (project, version)


@pytest.mark.parametrize(
    ("filename", "project", "version"),
    [
        ("a-1-1.tar.gz", "a", "1.post1"),
        ("a-1-1.tar.gz", "a-1", "1"),
        ("demo-1.0-1.tar.gz", "demo", "1.0.post1"),
        ("demo-1.0-1.tar.gz", "demo-1-0", "1"),
        ("Foo.Bar-1.0.zip", "foo-bar", "1.0"),
        ("foo-bar-1.0-rc-2.tar.gz", "foo-bar", "1.0rc2"),
    ],
)
def test_a_known_project_settles_where_an_sdist_name_is_cut(
    filename: str, project: str, version: str
) -> None:
    sdist = parse_filename(filename, project)

    assert (sdist.project, sdist.version) == (project, version)


@pytest.mark.parametrize(
    "filename", ["other-1.0.tar.gz", "demo-other-1.0.tar.gz", "other-1.0-py3-none-any.whl"]
)
def test_a_file_of_another_project_says_so(filename: str) -> None:
    assert parse_filename(filename, "demo").project == parse_filename(filename).project


# -- Refusals


@pytest.mark.parametrize(
    "filename",
    [
        "",
        "a/b-1.0.tar.gz",
        "..\\b-1.0.tar.gz",
        "démo-1.0.tar.gz",
        "demo-1.0\x00.tar.gz",
        "demo-1.0.tar.gz\n",
        "demo -1.0.tar.gz",
        "demo-1.0 (1).tar.gz",
        "demo-\udc80.tar.gz",
        "d" * 260 + "-1.0.tar.gz",
        "demo-1." + "9" * 5000 + ".tar.gz",
    ],
)
def test_names_with_characters_or_lengths_that_no_distribution_has_are_refused(filename: str) -> None:
    with pytest.raises(InvalidFilename):
        parse_filename(filename)


@given(st.text(), st.sampled_from(["", ".whl", ".tar.gz", ".zip", ".egg"]))
def test_whatever_the_name_is_it_is_read_or_refused_in_visible_ascii(name: str, extension: str) -> None:
    try:
        parse_filename(name + extension)
    except InvalidFilename as refused:
        for sentence in (refused.reason, refused.advice):
            assert sentence.isascii()
            assert sentence.isprintable()
            assert sentence.endswith(".")


def test_a_refusal_reads_as_its_reason() -> None:
    with pytest.raises(InvalidFilename, match="no hyphen"):
        parse_filename("demo.tar.gz")


# -- Identity


def test_spellings_of_one_wheel_are_the_same_file() -> None:
    one = parse_filename("demo_x-1.0-py3-none-any.whl")
    other = parse_filename("Demo.X-1.0.0-py3-none-any.whl")

    assert one.identity == other.identity


@pytest.mark.parametrize(
    "other",
    [
        "demo-1.0-1-py3-none-any.whl",
        "demo-1.1-py3-none-any.whl",
        "demo-1.0+x-py3-none-any.whl",
        "demo-1.0.zip",
        "demo-1.0.tar.gz",
    ],
)
def test_another_build_version_or_kind_is_another_file(other: str) -> None:
    assert parse_filename("demo-1.0-py3-none-any.whl").identity != parse_filename(other).identity


def test_the_same_sdist_in_two_archives_is_two_files() -> None:
    assert parse_filename("demo-1.0.zip").identity != parse_filename("demo-1.0.tar.gz").identity


@pytest.mark.parametrize(("one", "other"), [("1.0rc1", "1.0.0-rc.1"), ("1.0", "1"), ("0", "0.0")])
def test_two_spellings_of_a_version_make_one_sdist(one: str, other: str) -> None:
    assert (
        parse_filename(f"demo-{one}.tar.gz", "demo").identity
        == parse_filename(f"demo-{other}.tar.gz", "demo").identity
    )


# -- Claims


@pytest.mark.parametrize(
    "entry",
    [
        "demo-1.0-py3-none-any.whl",
        "Demo-1.0.tar.gz",
        "demo-1.0.tar.gz.yanked",
        "demo-1.0.tar.gz.asc",
        "demo-1.0-py3-none-any.whl.metadata",
        "demo-1.0.zip.provenance",
        "demo-1.0.tar.gz.deleted",
        "demo-1.0-py3-none-any.whl.part",
        "demo-1.0-py3-none-any.whl.crdownload",
        "demo-1.0.tar.gz.yanked.tmp",
        "demo-1.0.tar.gz~",
        ".demo-1.0.tar.gz",
        ".demo-1.0.tar.gz.aB3xY9",
        "._demo-1.0.tar.gz",
        ".syncthing.demo-1.0.tar.gz.tmp",
        "demo-1.0.deleted",
        "demo-1.0.part",
    ],
)
def test_a_distribution_and_all_that_is_named_after_it_claims_its_project(entry: str) -> None:
    assert claimed_project(entry) == "demo"


@pytest.mark.parametrize(
    "entry",
    [
        "demo-5.0-py3-none-any.WHL",
        "demo-7.0-py3-none.whl",
        "demo-2024-01-01-py3-none-any.whl",
        "demo_-4.0-py3-none-any.whl",
        "demo-1.0-py3-none-any (1).whl",
        "demo-1.0 (1).tar.gz",
        "demo-1.0 – Kopie.tar.gz",
        "demo-1.0.tar.gz.1",
        "demo-1.0.tar.gz.sha256",
        "demo-1.0.tar.zst",
        "demo-1.0-py3.8.egg",
        "demo-1.0.win-amd64-py3.8.exe",
        "demo-notaversion.tar.gz",
        "demo-1.0\n.tar.gz",
        "demo.whl",
    ],
)
def test_a_damaged_name_claims_the_project_that_can_still_be_told(entry: str) -> None:
    assert claimed_project(entry) == "demo"


@pytest.mark.parametrize(
    ("entry", "project"),
    [
        ("foo-2-1.0.tar.gz.part", "foo-2"),
        ("foo-2-1.0 (1).tar.gz", "foo-2"),
        ("foo-bar-1.0-py3-none-any.whl", "foo-bar"),
        (".Foo.Bar-1.0.zip.XXXXXX", "foo-bar"),
        ("foo-bar-baz.tar.gz", "foo-bar"),
    ],
)
def test_a_claim_keeps_the_hyphens_that_belong_to_the_project(entry: str, project: str) -> None:
    assert claimed_project(entry) == project


@pytest.mark.parametrize(
    "entry",
    [
        "",
        ".",
        "README.txt",
        "README-2.txt~",
        "demo",
        "demo-1.0",
        ".gitignore",
        ".claimed",
        "SHA256SUMS",
        "index.html",
        "backup.tar.gz",
        "photos-summer.zip",
        "setup.exe",
        "é-1.0.tar.gz",
        "-1.0.tar.gz",
        ".tar.gz",
        "demo.yanked",
    ],
)
def test_what_is_named_for_no_project_claims_none(entry: str) -> None:
    assert claimed_project(entry) is None


@given(st.text(), st.sampled_from(["", "-1.0", "-x"]), st.sampled_from(["", ".whl", ".zip", ".tar.gz"]))
def test_a_claim_is_always_a_normalized_name(name: str, version: str, extension: str) -> None:
    claimed = claimed_project(name + version + extension)

    assert claimed is None or (is_valid_name(claimed) and normalize(claimed) == claimed)


@given(
    st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5}){0,2}-[0-9]\.[0-9](\.tar\.gz|\.zip)", fullmatch=True),
    st.sampled_from(
        [".yanked", ".deleted", ".asc", ".part", ".tmp", ".filepart", "~", ".aB3xY9", ".PARTIAL"]
    ),
)
def test_a_suffix_never_moves_a_claim_to_another_project(filename: str, suffix: str) -> None:
    assert claimed_project(filename + suffix) == parse_filename(filename).project
    assert claimed_project("." + filename + suffix) == parse_filename(filename).project


@pytest.mark.parametrize(
    "entry",
    [
        ".demo-1.0.tar.gz",
        "demo-1.0.tar.gz.part",
        "x.tmp",
        "x.PARTIAL",
        "x.crdownload",
        "x~",
        ".gitignore",
        "#x#",
    ],
)
def test_hidden_and_unfinished_entries_are_temporary(entry: str) -> None:
    assert is_temporary(entry)


@pytest.mark.parametrize("entry", ["demo-1.0.tar.gz", "demo-1.0.tar.gz.yanked", "README.txt", "x.partly"])
def test_other_entries_are_not_temporary(entry: str) -> None:
    assert not is_temporary(entry)


# -- Order


def test_versions_ascend_as_pep_440_orders_them_and_invalid_ones_come_last_as_text() -> None:
    ascending = [
        "1.0.dev1",
        "1.0a1",
        "1.0",
        "1.0+loc",
        "1.0.post1",
        "1.9",
        "1.10",
        "1!0.1",
        "2004d",
        "abc",
        "b",
    ]

    assert sorted(set(ascending), key=version_sort_key) == ascending


def test_each_release_is_listed_once_in_the_normal_form_of_its_first_spelling() -> None:
    assert sorted_versions(["v1.0", "1.0.0", "1", "0.9"]) == ("0.9", "1.0")


def test_an_invalid_version_is_listed_as_it_is_after_the_valid_ones() -> None:
    assert sorted_versions(["zzz", "2.0", "2004d", "zzz"]) == ("2.0", "2004d", "zzz")


def test_no_versions_are_no_versions() -> None:
    assert sorted_versions([]) == ()


def test_a_version_with_a_number_too_long_to_read_is_ordered_without_an_error() -> None:
    assert sorted_versions(["1" * 5000, "1.0"]) == ("1.0", "1" * 5000)


_VERSIONS = st.from_regex(
    r"v?([01]!)?[0-9]{1,2}(\.[0-9]{1,2}){0,3}((a|-rc|\.post|\.dev)[0-9])?(\+[a1](\.[a1])?)?", fullmatch=True
)


_FINAL_RELEASES = st.from_regex(r"(0|[1-9][0-9]?)(\.(0|[1-9][0-9]?)){0,3}", fullmatch=True)


@given(st.lists(_FINAL_RELEASES))
def test_final_releases_are_ordered_as_any_versions_are(versions: list[str]) -> None:
    """Also where trailing zeros make two spellings of one release, of which the first is kept."""
    among_others = sorted_versions([*versions, "1!0a1"])
    assert (*sorted_versions(versions), "1!0a1") == among_others


@given(st.lists(_VERSIONS))
def test_ordering_versions_agrees_with_packaging(versions: list[str]) -> None:
    assert [Version(v) for v in sorted_versions(versions)] == sorted({Version(v) for v in versions})


@given(_VERSIONS, _VERSIONS)
def test_spellings_of_a_release_are_those_that_packaging_takes_for_equal(one: str, other: str) -> None:
    assert (canonical_version(one) == canonical_version(other)) is (Version(one) == Version(other))


@given(st.lists(_VERSIONS | st.text("0123.!+-ab\n ", max_size=8)))
def test_whatever_is_not_a_version_comes_after_all_versions_as_text(texts: list[str]) -> None:
    def is_valid(text: str) -> bool:
        try:
            return bool(Version(text))
        except InvalidVersion:
            return False

    valid, others = [t for t in texts if is_valid(t)], [t for t in texts if not is_valid(t)]
    expected = [*sorted(valid, key=Version), *sorted(others)]
    assert sorted(texts, key=version_sort_key) == expected
    if texts:
        assert version_sort_key(expected[-1]) == max(map(version_sort_key, texts))


def test_versions_of_every_form_are_ordered_as_packaging_orders_them() -> None:
    parts = (
        ("", "1!"),
        ("1.0.1", "1.0", "1", "0"),
        ("", "a1", "b0", "rc2"),
        ("", ".post0", ".post1"),
        ("", ".dev0", ".dev2"),
        ("", "+a", "+1", "+1.a", "+10"),
    )
    versions = ["".join(chosen) for chosen in itertools.product(*parts)]

    assert sorted(versions, key=version_sort_key) == sorted(versions, key=Version)


def test_files_are_ordered_by_version_and_then_by_file_name() -> None:
    names = [
        ("demo-1.9.zip", "1.9"),
        ("demo-1.10.tar.gz", "1.10"),
        ("demo-1.10.zip", "1.10.0"),
        ("demo-x.zip", "x"),
    ]
    set_apart = [File(filename=name, version=version) for name, version in sorted(names)]

    assert [file.filename for file in sorted_files(set_apart)] == [name for name, _ in names]


# -- Why a name is none


@pytest.mark.parametrize(
    ("filename", "reason", "advice"),
    [
        (
            "package-name-0.0.1.dev0.linux-x86_64.tar.gz",
            "binary archive for linux-x86_64 (bdist_dumb)",
            "wheel",
        ),
        ("demo-1.0.win32.zip", "binary archive for win32 (bdist_dumb)", "wheel"),
        ("demo-1.0.macosx-10.9-x86_64.tar.gz", "binary archive for macosx-10.9-x86_64", "wheel"),
        ("demo-1.0-win64.zip", "binary archive for win64", "wheel"),
        ("internal-project-0.0.0-develop.tar.gz", '"0.0.0-develop" is not a version', "valid version"),
        ("demo-1.0-SNAPSHOT.zip", '"1.0-SNAPSHOT" is not a version', "valid version"),
        ("demo-1.x.tar.gz", '"1.x" is not a version', "valid version"),
        ("demo-latest.tar.gz", '"latest" is not a version', "valid version"),
        ("demo-1.0-winter.zip", '"1.0-winter" is not a version', "valid version"),
        ("Demo-1.0.mpkg.zip", "Mac installer", "wheel or an sdist"),
        ("demo-1.0-py2.5-macosx10.3.mpkg.zip", "Mac installer", "wheel or an sdist"),
        ("demo-1.0.pkg.zip", "Mac installer", "wheel or an sdist"),
        ("Demo.app.zip", "Mac installer", "wheel or an sdist"),
        ("demo-1.0.pkg", "Mac installer", "wheel or an sdist"),
        ("demo-1.0.dmg", "disk image", "wheel"),
        ("numpy-1.26.0-py311h64a7726_0.tar.bz2", "conda package", "wheel or an sdist"),
        ("numpy-1.26.0-py311h64a7726_0.conda", "conda package", "wheel or an sdist"),
        ("python-demo-1.0-1-any.pkg.tar.zst", "system package", "wheel or an sdist"),
        ("demo_1.0-1.debian.tar.xz", "system package", "wheel or an sdist"),
        ("demo-1.0-1.noarch.rpm", "system package (.rpm)", "wheel"),
        ("demo-1.0-1.src.rpm", "system package (.rpm)", "wheel"),
        ("demo-1.0.win32-py2.7.exe", "Windows installer (.exe)", "wheel"),
        ("demo-1.0-cp311-cp311-linux_x86_64-cu128.whl", 'wheel variant ("cu128";', "without a variant"),
        ("demo-1.0-1-cp311-cp311-linux_x86_64-x86_64_v3.whl", 'variant ("x86_64_v3";', "without a variant"),
        (
            "demo-1.0-cp313-cp313-linux_x86_64-x86_64_v3_openblas_lp64.whl",
            'variant ("x86_64_v3_openblas_lp64"; PEP 825, a draft)',
            "without a variant",
        ),
        ("demo-1.0-py3-none-any.whl.crdownload", "unfinished download or copy of demo-1.0-py3", "fetch"),
        ("demo-1.0.tar.gz.PART", "unfinished download or copy of demo-1.0.tar.gz", "fetch"),
        ("project-master.zip", 'branch or commit ("master")', "sdist"),
        ("my-project-main.tar.gz", 'branch or commit ("main")', "sdist"),
        ("project-1a2b3c4d5e6f.zip", 'branch or commit ("1a2b3c4d5e6f")', "sdist"),
        ("demo-1.0-py3-none-any.tar.gz", "named like a wheel, but ends in .tar.gz", "as it was built"),
        ("demo-1.0-1-cp311-cp311-any.tar.bz2", "named like a wheel, but ends in .tar.bz2", "as it was built"),
        ("v1.0.tar.gz", "a version without a project", "name-v1.0.tar.gz"),
        ("1.0.zip", "a version without a project", "name-1.0.zip"),
    ],
)
def test_a_name_that_is_right_elsewhere_is_told_as_what_it_is(
    filename: str, reason: str, advice: str
) -> None:
    with pytest.raises(InvalidFilename) as refused:
        parse_filename(filename)
    assert reason in refused.value.reason
    assert advice in refused.value.advice


@pytest.mark.parametrize(
    ("filename", "right"),
    [
        ("pkg_hello-0.1.1_git84khdg93-py3-none-any.whl", "pkg_hello-0.1.1+git84khdg93-py3-none-any.whl"),
        ("pkg_hello-0.1.1_git84khdg93.tar.gz", "pkg_hello-0.1.1+git84khdg93.tar.gz"),
        ("demo-1.0.dev3_ubuntu_1.tar.gz", "demo-1.0.dev3+ubuntu_1.tar.gz"),
        ("demo-1.0-gabc1234.tar.gz", "demo-1.0+gabc1234.tar.gz"),
        ("demo-1.0.git84abc-py3-none-any.whl", "demo-1.0+git84abc-py3-none-any.whl"),
        ("torch-2.0%2Bcu118-cp310-cp310-linux_x86_64.whl", "torch-2.0+cu118-cp310-cp310-linux_x86_64.whl"),
        ("torch-2.0%2bcu118.tar.gz", "torch-2.0+cu118.tar.gz"),
        ("demo-1%211.0.tar.gz", "demo-1!1.0.tar.gz"),
        ("torch-2.0 cu118-cp310-cp310-linux_x86_64.whl", "torch-2.0+cu118-cp310-cp310-linux_x86_64.whl"),
        ("demo-1.0-py3-none-any (1).whl", "demo-1.0-py3-none-any.whl"),
        ("demo-1.0-py3-none-any(12).whl", "demo-1.0-py3-none-any.whl"),
        ("demo-1.0.tar (1).gz", "demo-1.0.tar.gz"),
        ("demo-1.0 - Copy.tar.gz", "demo-1.0.tar.gz"),
        ("demo-1.0 \u2013 Kopie (2).tar.gz", "demo-1.0.tar.gz"),
        ("demo-1.0 copy 2.zip", "demo-1.0.zip"),
        ("Copy of demo-1.0-py3-none-any.whl", "demo-1.0-py3-none-any.whl"),
        ("Copy (2) of demo-1.0.tar.gz", "demo-1.0.tar.gz"),
        ("Kopie von demo-1.0.zip", "demo-1.0.zip"),
        ("demo-1.0-py3-none-any.whl.tar.gz", "demo-1.0-py3-none-any.whl"),
        ("demo-1.0.tar.gz.tar", "demo-1.0.tar.gz"),
        ("demo-1.0.tar.gz.tgz", "demo-1.0.tar.gz"),
        ("password_strength-0.0.1_1-py2-none-any.whl", "password_strength-0.0.1.post1-py2-none-any.whl"),
        ("demo-1.0-py3-none-any.whl.1", "demo-1.0-py3-none-any.whl"),
        ("demo-1.0-py3-none-any.whl.zip", "demo-1.0-py3-none-any.whl"),
        ("demo-1.0-py3-none-any.whl.txt", "demo-1.0-py3-none-any.whl"),
        ("demo-1.0.tar.gz.gz", "demo-1.0.tar.gz"),
        ("demo-1.0.tar.gz#sha256=0123abcd", "demo-1.0.tar.gz"),
        ("demo-1.0-py3-none-any.whl?download=1", "demo-1.0-py3-none-any.whl"),
        ("demo-1.0-py3-none-any.zip", "demo-1.0-py3-none-any.whl"),
        ("foo-bar-1.0-py3-none-any.whl", "foo_bar-1.0-py3-none-any.whl"),
        ("foo-bar-baz-1.0-1-py3-none-any.whl", "foo_bar_baz-1.0-1-py3-none-any.whl"),
        ("demo-1.0-src.tar.gz", "demo-1.0.tar.gz"),
        ("demo-1.0.source.zip", "demo-1.0.zip"),
        ("demo_1.0.orig.tar.gz", "demo-1.0.tar.gz"),
    ],
)
def test_a_name_that_was_right_once_is_told_with_what_it_was(filename: str, right: str) -> None:
    with pytest.raises(InvalidFilename) as refused:
        parse_filename(filename)
    assert f"Rename it to {right}" in refused.value.advice
    assert parse_filename(right).filename == right


@pytest.mark.parametrize(
    ("filename", "origin"),
    [
        ("demo-1.0-py3-none-any (1).whl", "a browser's second download"),
        ("demo-1.0-py3-none-any.whl (1)", "a browser's second download"),
        ("demo-1.0-py3-none-any.whl.1", "wget's second download"),
        ("demo-1.0-py3-none-any copy.whl", "a file manager's copy"),
        ("demo-1.0-py3-none-any - Copy.whl", "a file manager's copy"),
        ("demo-1.0-py3-none-any - Copy (2).whl", "a file manager's copy"),
        ("demo-1.0-py3-none-any 2.whl", "a file manager's copy"),
        ("demo-1.0-py3-none-any (copy).whl", "a file manager's copy"),
        ("demo-1.0-py3-none-any (another copy).whl", "a file manager's copy"),
        ("demo-1.0-py3-none-any (3. Kopie).whl", "a file manager's copy"),
        ("Copy (2) of demo-1.0-py3-none-any.whl", "a file manager's copy"),
    ],
)
def test_the_name_of_a_second_copy_is_told_with_what_made_it(filename: str, origin: str) -> None:
    with pytest.raises(InvalidFilename) as refused:
        parse_filename(filename)
    assert refused.value.reason == f"This is named like {origin} of demo-1.0-py3-none-any.whl."
    assert refused.value.advice.endswith("or remove it if that exists already.")


def test_a_zip_that_may_hold_wheels_is_told_to_be_unpacked() -> None:
    with pytest.raises(InvalidFilename) as refused:
        parse_filename("wheels.zip")
    assert refused.value.advice.endswith("; unpack a zip of wheels.")


@pytest.mark.parametrize("filename", ["demo-2024-01-01-py3-none-any.whl", "demo-one-py3-none-any.whl"])
def test_a_name_that_nothing_is_known_of_is_told_by_the_grammar(filename: str) -> None:
    with pytest.raises(InvalidFilename) as refused:
        parse_filename(filename)
    assert "Rename" not in refused.value.advice


@given(
    st.from_regex(r"[a-z]{1,4}[-_. %(][-_.a-z0-9%() +]{0,30}", fullmatch=True),
    st.sampled_from([".whl", ".tar.gz", ".zip", ".tar.bz2", ".whl.1", ".tar (1).gz", ".pkg.zip"]),
)
def test_what_a_name_is_to_be_renamed_to_is_a_name(stem: str, extension: str) -> None:
    try:
        parse_filename(stem + extension)
    except InvalidFilename as refused:
        found = re.match(r"Rename it to (\S+?)(?:[,;]|\.$)", refused.advice)
        if found is not None:
            parse_filename(found[1])


@pytest.mark.parametrize(
    "filename",
    [
        *(
            "demo-1.0.tar.gz",
            "demo-1.0-py3-none-any.whl",
            "demo-1.0.tar.zst",
            "demo.egg",
            "demo.conda",
            "x.zip",
        ),
        *("demo.WHL", "demo.whl.1", "demo.whl.txt", "demo-1.0.tar (1).gz", "demo-1.0.tar.gz (2)", "demo.tar"),
    ],
)
def test_what_people_take_for_a_distribution(filename: str) -> None:
    assert looks_like_distribution(filename)


@pytest.mark.parametrize(
    "filename",
    [
        *(
            "demo-1.0.tar.gz.sha256",
            "demo.whl.asc",
            "demo.tar.gz.sigstore.json",
            "demo.tar.gz.publish.attestation",
        ),
        *(
            "README",
            "notes.target",
            "my.tartan.txt",
            "demo.whl.metadata",
            "demo.tar.gz.sha256.txt",
            "demo.whl\n",
        ),
    ],
)
def test_what_people_do_not_take_for_a_distribution(filename: str) -> None:
    assert not looks_like_distribution(filename)
