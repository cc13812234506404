"""`twisted-index export` as it is typed."""

from __future__ import annotations

import json

from twisted_index.testing import make_wheel


def export(console, *words: str) -> tuple[int, str, str]:
    folders = (f"--path={console.path}", f"--state={console.state}")
    return console.told("export", *folders, *words, str(console.path.parent / "site"))


def test_an_export_ends_with_what_it_did(console):
    make_wheel("demo", "1.0").write_to(console.path)
    assert export(console) == (0, "1 written, 0 removed, 0 unchanged\n", "")
    assert export(console) == (0, "0 written, 0 removed, 1 unchanged\n", "")
    assert export(console, "--quiet") == (0, "", "")


def test_a_check_says_by_its_exit_code_whether_the_export_is_current(console):
    make_wheel("demo", "1.0").write_to(console.path)
    assert export(console, "--check")[0] == 1
    export(console)
    assert export(console, "--check")[0] == 0


def test_the_result_can_be_read_by_programs(console):
    make_wheel("demo", "1.0").write_to(console.path)
    _code, out, _err = export(console, "--json")
    assert json.loads(out) == {
        "written": ["demo"],
        "removed": [],
        "unchanged": 0,
        "failed": {},
        "current": False,
    }


def test_an_export_holds_what_everyone_may_read(console, tmp_path):
    for name in ("open", "closed"):
        make_wheel(name, "1.0").write_to(console.path)
    (tmp_path / "rights.toml").write_text(
        '[[rule]]\nprojects = "closed"\nallow = "read"\nto = "alice"\n', encoding="utf-8"
    )
    config = tmp_path / "index.toml"
    config.write_text('rights = "rights.toml"\nauth = ["memory:alice:secret"]\n', encoding="utf-8")
    simple = tmp_path / "site" / "simple"

    def exported(*words: str) -> list[str]:
        code, _out, err = export(console, f"--config={config}", *words)
        assert code == 0, err
        return sorted(path.name for path in simple.iterdir() if path.is_dir())

    assert exported() == ["open"]
    assert exported("--as", "alice") == ["closed", "open"]
    assert exported("--as", "bob") == ["open"]
    assert exported("--all-projects") == ["closed", "open"]


def test_routes_decide_which_folder_a_project_comes_from(console, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    make_wheel("acme-lib", "1.0").write_to(console.path)
    make_wheel("acme-lib", "2.0").write_to(other)
    make_wheel("gone", "1.0").write_to(console.path)
    make_wheel("stays", "1.0").write_to(console.path)
    make_wheel("stays", "2.0").write_to(other)
    config = tmp_path / "index.toml"
    config.write_text(
        '[[route]]\npattern = "acme-*"\nfolder = "other"\n[[route]]\npattern = "gone"\n',
        encoding="utf-8",
    )
    code, _out, err = export(console, f"--config={config}")
    assert code == 0, err
    site = tmp_path / "site"
    assert sorted(path.name for path in site.glob("simple/*/*.whl")) == [
        "acme_lib-2.0-py3-none-any.whl",
        "stays-1.0-py3-none-any.whl",
    ]


def test_an_export_into_the_folder_of_packages_is_refused(console):
    code, _out, err = console.told("export", f"--path={console.path}", str(console.path / "site"))
    assert code == 64
    assert "cannot be inside the folder of packages" in err


def test_options_that_contradict_each_other_are_refused(console):
    assert export(console, "--link", "--files-url", "https://host.example/")[0] == 64
    assert export(console, "--as", "alice", "--all-projects")[0] == 64
