"""Import names are read from what a wheel installs."""

from __future__ import annotations

import pytest

from twisted_index.search.import_names import MAX_IMPORTS, import_names


@pytest.mark.parametrize(
    ("members", "names"),
    [
        (["PIL/__init__.py", "PIL/Image.py", "pillow.libs/libjpeg.so.8"], ("PIL",)),
        (["six.py", "six-1.0.dist-info/METADATA"], ("six",)),
        (["_cffi_backend.cpython-312-x86_64-linux-gnu.so", "cffi/__init__.py"], ("_cffi_backend", "cffi")),
        (["fast.abi3.so", "quick.cp312-win_amd64.pyd"], ("fast", "quick")),
        (["google/cloud/storage/__init__.py", "google/cloud/storage/blob.py"], ("google.cloud.storage",)),
        (["space/one.py", "space/two.py"], ("space.one", "space.two")),
        (["a-1.data/purelib/a/__init__.py", "a-1.data/scripts/tool.py"], ("a",)),
        (["pkg-stubs/__init__.py", "docs/not-a-name.py", "README", "pkg/data.json"], ()),
        (["pkg/tests/__init__.py", "pkg/__init__.py"], ("pkg",)),
        ([], ()),
    ],
)
def test_packages_and_modules_at_the_top_count(members: list[str], names: tuple[str, ...]):
    assert import_names(members) == names


def test_a_wheel_of_many_modules_has_some_of_them():
    assert len(import_names(f"m{number}.py" for number in range(1000))) == MAX_IMPORTS


@pytest.mark.parametrize(
    "member", ["/", "//x.py", "../x.py", "\0.py", ".py", "a/../b.py", "x" * 70_000 + ".py"]
)
def test_odd_members_are_none(member: str):
    assert import_names([member]) == ()
