"""pip and uv install from a live server, with no other index."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.kit.bucket_folder import set_time
from twisted_index.testing import make_sdist, make_wheel

pytestmark = pytest.mark.places


@pytest.fixture
def family(folder):
    """A project, what it needs, and what that needs in turn; names that are spelled in several ways."""
    files = [
        make_wheel("app", "1.0", requires=["Middle.Part>=1", "Other_Part[extra]==2.*"]),
        make_wheel("middle-part", "1.5", requires=["leaf"]),
        make_wheel(
            "other.part",
            "2.0",
            requires=["leaf<3", "optional; extra == 'extra'"],
            extra_metadata=["Provides-Extra: extra"],
        ),
        make_wheel("leaf", "2.9"),
        make_wheel("leaf", "3.0"),
        make_wheel("optional", "0.1"),
    ]
    for file in files:
        file.write_to(folder / file.project)
    return files


WHOLE_FAMILY = {"app-1.0", "middle_part-1.5", "other_part-2.0", "leaf-2.9", "optional-0.1"}


@pytest.mark.parametrize("url", ["/simple/", "/simple", "/"])
def test_a_project_is_installed_with_all_it_needs(installer, server, family, url):
    """By the recommended URL, without its slash, and in the plain layout."""
    assert installer.install("--index-url", server.origin + url, "app") == WHOLE_FAMILY


def test_the_flat_page_serves_find_links(installer, server, family):
    assert (
        installer.install("--no-index", "--find-links", f"{server.origin}/packages/", "app") == WHOLE_FAMILY
    )


def test_a_dropped_wheel_is_in_the_next_install(installer, server, folder):
    """With the installer's own cache on."""
    for number in range(3):
        make_wheel("demo", f"1.{number}").write_to(folder / "demo")
        assert installer.install("--index-url", server.simple, "demo") == {f"demo-1.{number}"}
    (folder / "demo" / "demo-1.2-py3-none-any.whl").unlink()
    assert installer.install("--index-url", server.simple, "demo") == {"demo-1.1"}


def test_hashes_are_required_and_hold(installer, server, family, shell):
    requirements = shell.home / "requirements.txt"
    lines = [
        f"{file.project}=={file.version} --hash=sha256:{file.sha256}\n"
        for file in family
        if file.version != "3.0"
    ]
    requirements.write_text("".join(lines))
    assert (
        installer.install("--index-url", server.simple, "--require-hashes", "-r", requirements)
        == WHOLE_FAMILY
    )

    requirements.write_text(lines[3].replace(family[3].sha256, "0" * 64))
    outcome, found = installer.try_to_install(
        "--index-url", server.simple, "--require-hashes", "-r", requirements
    )
    assert outcome.code != 0
    assert found == set()


@pytest.mark.parametrize("extension", [".tar.gz", ".zip"])
def test_an_sdist_is_built_and_installed(installer, server, folder, extension):
    make_sdist("demo", "1.0", extension=extension, requires=["leaf"]).write_to(folder)
    make_wheel("leaf", "1.0").write_to(folder)

    assert installer.install("--index-url", server.simple, "demo") == {"demo-1.0", "leaf-1.0"}


def test_a_yanked_file_is_taken_only_when_its_version_is_asked_for(installer, server, folder):
    """And the installer repeats the reason (PEP 592)."""
    wheel = make_wheel("demo", "1.0")
    wheel.write_to(folder / "demo")
    (folder / "demo" / f"{wheel.filename}.yanked").write_text("It eats your data")

    outcome, found = installer.try_to_install("--index-url", server.simple, "demo")
    assert outcome.code != 0
    assert found == set()
    outcome, found = installer.try_to_install("--index-url", server.simple, "demo==1.0")
    assert outcome.code == 0
    assert found == {"demo-1.0"}
    assert "It eats your data" in outcome.output
    make_wheel("demo", "0.9").write_to(folder / "demo")
    assert installer.install("--index-url", server.simple, "demo") == {"demo-0.9"}


def test_a_file_for_another_python_is_passed_over(installer, server, folder):
    make_wheel("demo", "1.0", requires_python=">=3.8").write_to(folder)
    make_wheel("demo", "2.0", requires_python=">=3.99").write_to(folder)

    assert installer.install("--index-url", server.simple, "demo") == {"demo-1.0"}


@pytest.mark.parametrize(
    ("version", "wanted"),
    [("1.0+loc.1", "demo==1.0+loc.1"), ("1.0+loc.1", "demo==1.0"), ("1!2.0", "demo==1!2.0")],
)
@pytest.mark.parametrize("build", ["", "1a"])
def test_local_versions_epochs_and_build_tags_are_installed(
    installer, server, folder, version, wanted, build
):
    make_wheel("demo", version, build=build).write_to(folder)

    assert installer.install("--index-url", server.simple, wanted) == {f"demo-{version}"}


def test_of_two_builds_the_later_is_taken(installer, server, folder):
    make_wheel("demo", "1.0", build="2", files={"second.py": ""}).write_to(folder)
    make_wheel("demo", "1.0", build="1", files={"first.py": ""}).write_to(folder)
    make_wheel("demo", "1.0", files={"none.py": ""}).write_to(folder)

    installer.install("--index-url", server.simple, "demo")

    assert (installer.shell.home / "installed-1" / "second.py").exists()


@pytest.mark.parametrize(
    ("name", "option"), [("pip", "--uploaded-prior-to"), ("uv", "--exclude-newer")], ids=["pip", "uv"]
)
def test_time_filters_see_when_a_file_came(request, server, folder, name, option):
    installer = request.getfixturevalue(name)
    if option not in installer.shell.run(*installer.command, "--help").output:
        pytest.skip(f"This {name} does not know {option}")
    set_time(make_wheel("demo", "1.0").write_to(folder), 1612325106)
    make_wheel("demo", "2.0").write_to(folder)

    def install(before):
        return installer.install("--index-url", server.simple, option, before, "demo")

    assert install("2022-01-01T00:00:00Z") == {"demo-1.0"}
    assert install("2100-01-01T00:00:00Z") == {"demo-2.0"}
    assert installer.install("--index-url", server.simple, "demo") == {"demo-2.0"}


def test_an_unknown_name_is_found_in_the_next_index(installer, server, live_server, folder, tmp_path):
    """404 is the one status that sends every installer on."""
    make_wheel("ours", "1.0", requires=["theirs"]).write_to(folder)
    make_wheel("theirs", "1.0").write_to(tmp_path / "elsewhere")
    other = live_server(tmp_path / "elsewhere")

    found = installer.install("--index-url", other.simple, "--extra-index-url", server.simple, "ours")

    assert found == {"ours-1.0", "theirs-1.0"}


def test_metadata_is_read_without_the_wheel(installer, live_server, folder, shell):
    """A resolution does not download what it does not install (PEP 658)."""
    ballast = os.urandom(200_000)
    make_wheel("demo", "1.0", requires=["leaf"], files={"ballast.bin": ballast}).write_to(folder)
    make_wheel("leaf", "1.0").write_to(folder)
    log = shell.home / "access.log"
    server = live_server(folder, options=["--access-log", str(log)])

    outcome, _ = installer.try_to_install("--index-url", server.simple, "--dry-run", "demo")
    server.stop()

    assert outcome.code == 0
    text = log.read_text()
    assert "demo-1.0-py3-none-any.whl.metadata" in text
    assert "demo-1.0-py3-none-any.whl" not in text.replace(".whl.metadata", "")


def test_a_damaged_file_stops_nobody(installer, server, folder):
    make_wheel("demo", "1.0").write_to(folder / "demo")
    (folder / "demo" / "demo-2.0-py3-none-any.whl").write_bytes(make_wheel("demo", "2.0").content[:400])

    assert installer.install("--index-url", server.simple, "demo") == {"demo-1.0"}


def test_sixty_projects_at_once(uv, server, folder):
    """uv asks for all of them at the same time."""
    for number in range(60):
        make_wheel(f"part-{number}", "1.0").write_to(folder)
    make_wheel("whole", "1.0", requires=[f"part-{number}" for number in range(60)]).write_to(folder)

    assert len(uv.install("--index-url", server.simple, "whole")) == 61


def test_pip_tells_the_versions_there_are(pip, server, folder):
    for version in ("1.0", "1.1", "2.0rc1"):
        make_wheel("demo", version).write_to(folder)

    said = pip.shell.must(*pip.command[:3], "index", "versions", "demo", "--index-url", server.simple)

    assert "1.1, 1.0" in said


def test_what_does_not_fit_and_what_is_absent_is_named_at_the_server(
    installer, module_server, folder, all_operate
):
    """Here the student sees `from versions: none`, and the teacher what is needed."""
    server = module_server(*all_operate)
    make_wheel("unfit", "1.0", tag="cp27-cp27m-win32").write_to(folder)
    make_wheel("fit", "1.0").write_to(folder)
    for name in ("unfit", "nowhere"):
        outcome, _installed = installer.try_to_install("--index-url", server.simple, name)
        assert outcome.code != 0
    installer.install("--index-url", server.simple, "fit")
    found = json.loads(server.get("/-/wanted", headers={"Accept": "application/json"}).body)["wanted"]
    this_python = f"cp{sys.version_info[0]}{sys.version_info[1]} "
    found = {each["project"]: each for each in found if each["project"] in ("fit", "unfit", "nowhere")}
    assert {name: each["reason"] for name, each in found.items()} == {
        "unfit": "no_file_fits",
        "nowhere": "absent",
    }
    assert all(python.startswith(this_python) for each in found.values() for python in each["requests"])
