"""Files of requirements, in the ways in which pip's users write them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from twisted_index.errors import ConfigurationError
from twisted_index.resolution.requirements_files import Requirements, read_requirements

SHA = "sha256:" + "a" * 64


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_and_read(text: str, **files: str) -> Requirements:
        for name, content in files.items():
            Path(f"{name}.txt").write_text(content)
        Path("requirements.txt").write_text(text)
        return read_requirements(files=["requirements.txt"])

    return write_and_read


def names(found: Requirements) -> list[str]:
    return [str(one.requirement) for one in found.wanted]


def test_comments_continuations_and_empty_lines_are_read_as_by_pip(read):
    found = read("# first\n\ndemo >= 1.0, \\\n  <2  # why\nother # one\n#-r none.txt\n")

    assert names(found) == ["demo<2,>=1.0", "other"]


def test_files_name_further_files_from_their_own_folder(read, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("-r deeper.txt\nbase\n")
    (tmp_path / "more" / "deeper.txt").write_text("deeper\n-r ../requirements.txt\n")

    found = read(
        "-r more/base.txt\n--requirement=first.txt\n-cbounds.txt\ndemo\n", first="first", bounds="demo<2"
    )

    assert names(found) == ["deeper", "base", "first", "demo"]
    assert found.constraints == ["demo<2"]


def test_all_that_a_file_of_constraints_names_are_constraints(read, tmp_path):
    (tmp_path / "bounds.txt").write_text("-r more.txt\ndemo<2\n")
    (tmp_path / "more.txt").write_text(f"other==1 --hash={SHA}\n")

    found = read_requirements(["demo"], [], ["bounds.txt"])

    assert found.constraints == ["other==1", "demo<2"]


def test_variables_are_replaced_as_by_pip(read, monkeypatch):
    monkeypatch.setenv("VERSION", "1.0")

    assert names(read("demo==${VERSION}\n")) == ["demo==1.0"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_files_of_windows_editors_are_read(read, tmp_path, encoding):
    mark = codecs.BOM_UTF16_LE if encoding == "utf-16-le" else b""
    (tmp_path / "saved.txt").write_bytes(mark + "demo  # für alle\r\nother\r\n".encode(encoding))

    assert names(read_requirements(files=["saved.txt"])) == ["demo", "other"]


def test_an_encoding_can_be_named_as_in_python(tmp_path):
    (tmp_path / "old.txt").write_bytes("# coding: latin-1\ndemo # für\n".encode("latin-1"))

    assert names(read_requirements(files=[str(tmp_path / "old.txt")])) == ["demo"]


@pytest.mark.parametrize("content", [b"demo # f\xfcr\n", b"# coding: nonsense\n"])
def test_a_file_in_another_encoding_is_refused_in_one_sentence(tmp_path, content):
    (tmp_path / "old.txt").write_bytes(content)

    with pytest.raises(ConfigurationError, match=r"save it in UTF-8\.$"):
        read_requirements(files=[str(tmp_path / "old.txt")])


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("https://example.org/demo-1.0-py3-none-any.whl", "is at a URL"),
        ("git+https://example.org/demo.git@main#egg=demo", "is at a URL"),
        ("git+ssh://git@example.org/demo.git", "is at a URL"),
        ("demo @ https://example.org/demo-1.0.tar.gz", "is at a URL"),
        ("-e .", "is a project on this machine"),
        ("--editable=git+https://example.org/demo.git", "is a project on this machine"),
        (".", "is a project on this machine"),
        ("./demo[extra] ; os_name == 'nt'", "is a project on this machine"),
        ("wheels/demo-1.0-py3-none-any.whl", "is a project on this machine"),
        ("demo-1.0-py3-none-any.whl", "is a project on this machine"),
        ("..\\demo", "is a project on this machine"),
        ("file:///srv/demo", "is a project on this machine"),
    ],
)
def test_what_no_index_serves_is_left_out_with_a_sentence(read, line, part):
    found = read(f"{line}\nother\n")

    assert names(found) == ["other"]
    (sentence,) = found.left_out
    assert sentence.startswith("requirements.txt, line 1: ")
    assert part in sentence
    assert "copy" in sentence


@pytest.mark.parametrize(
    "line",
    [
        "-i https://example.org/simple/",
        "--index-url=https://example.org/simple/",
        "--extra-index-url https://example.org/simple/",
        "-fwheels",
        "--find-links wheels",
        "--no-index",
        "--trusted-host example.org",
    ],
)
def test_places_where_pip_looks_have_no_effect_and_a_sentence_says_so(read, line):
    found = read(f"{line}\ndemo\n")

    assert names(found) == ["demo"]
    (sentence,) = found.ignored
    assert "has no effect; the only source is that of --index-url." in sentence


def test_no_password_of_a_line_is_repeated(read):
    found = read("-i https://me:s3cret@example.org/\nhttps://me:s3cret@example.org/demo-1.0.tar.gz\n")

    assert "s3cret" not in str(found)


def test_options_that_matter_to_the_resolver_are_passed_on(read):
    found = read("--only-binary :all:\n--no-binary=demo\n--pre\n--prefer-binary\n--require-hashes\ndemo\n")

    assert found.options == ["--only-binary", ":all:", "--no-binary", "demo", "--pre"]


@pytest.mark.parametrize(
    "line",
    [
        *("demo >= nonsense", "[project]", "demo -- other", "--frobnicate", "demo --hash", "--only-binary"),
        *(
            "demo; python_version >",
            "-r 'unfinished",
            'demo --hash "sha256:ab',
            "-r https://example.org/requirements.txt",
        ),
    ],
)
def test_a_line_that_is_no_requirement_is_named_with_its_number(read, line):
    with pytest.raises(ConfigurationError, match=r"^requirements\.txt, line 2: [^\n]*\.$"):
        read(f"\n{line}\n")


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.txt cannot be read: No such file"):
        read_requirements(files=[str(tmp_path / "none.txt")])


def test_hashes_belong_to_their_requirement(read):
    found = read(
        f"demo==1.0 \\\n    --hash={SHA} \\\n    --hash=sha512:BB\nother==2; os_name=='nt' --hash {SHA}\n"
    )

    demo, other = found.wanted
    assert demo.hashes == {SHA, "sha512:bb"}
    assert (str(other.requirement), other.hashes) == ('other==2; os_name == "nt"', {SHA})
    assert found.is_locked


@pytest.mark.parametrize("text", ["", "demo==1.0", f"demo>=1 --hash={SHA}", f"demo==1.* --hash={SHA}"])
def test_only_pins_with_hashes_need_no_resolution(read, text):
    assert not read(text).is_locked


def test_words_are_read_like_lines():
    found = read_requirements(["demo[extra]>=1", "./local"])

    assert names(found) == ["demo[extra]>=1"]
    assert found.left_out[0].startswith("the command line: ./local is a project")


def test_settings_of_builds_are_passed_over_in_each_of_their_forms(read):
    found = read(
        'demo==1.0 --config-settings="a=b"\nother -C a=b\nthird --config-settings a=b --hash=sha256:AB\n'
    )
    assert [(one.project, one.hashes) for one in found.wanted] == [
        ("demo", frozenset()),
        ("other", frozenset()),
        ("third", {"sha256:ab"}),
    ]
