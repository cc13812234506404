"""What people read of a release's metadata."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_index.simple.legacy_json import parse_core_metadata
from twisted_index.simple.release_facts import RequiredProject, release_facts

HEAD = "Metadata-Version: 2.4\nName: De.Mo\nVersion: 1.0\n"


def facts(*lines: str):
    return release_facts("de-mo", parse_core_metadata((HEAD + "\n".join(lines) + "\n").encode()))


def test_requirements_are_grouped_by_extra():
    found = facts(
        "Requires-Dist: Base_Lib>=2",
        'Requires-Dist: more[x] ; extra == "dev"',
        "Requires-Dist: win ; (sys_platform == 'win32') and extra == 'dev'",
        'Requires-Dist: old ; python_version < "3.12"',
        "Requires-Dist: at @ https://x.test/a.whl",
    ).requirements
    assert found == {
        "": (
            RequiredProject(name="Base_Lib", project="base-lib", rest=">=2"),
            RequiredProject(name="old", project="old", rest='if python_version < "3.12"'),
            RequiredProject(name="at", project="at", rest="@ https://x.test/a.whl"),
        ),
        "dev": (
            RequiredProject(name="more", project="more", rest="[x]"),
            RequiredProject(name="win", project="win", rest="if sys_platform == 'win32'"),
        ),
    }


def test_a_requirement_that_cannot_be_read_is_its_text():
    (line,) = facts("Requires-Dist: <b>no</b>").requirements[""]
    assert line == RequiredProject(name="<b>no</b>")


def test_addresses_are_shown_only_where_there_is_no_name():
    found = facts("Author: Ada", "Author-email: Bob <b@x.test>, c@x.test", "Maintainer-email: d@x.test")
    assert found.people == (("Author", "Ada"), ("Author", "Bob"), ("Maintainer", "d@x.test"))


def test_who_is_named_in_both_fields_is_shown_once():
    found = facts("Author: Ada, Bob", "Author-email: Bob <b@x.test>, Ada Li <a@x.test>")
    assert found.people == (("Author", "Ada, Bob"), ("Author", "Ada Li"))


def test_addresses_that_are_nested_too_deeply_are_none():
    assert facts("Author: Ada", f"Author-email: {'(' * 500}").people == (("Author", "Ada"),)


def test_a_license_expression_goes_before_the_text_of_a_license():
    assert facts("License: old\n words", "License-Expression: MIT").license == "MIT"
    assert facts("License: BSD").license == "BSD"
    assert facts("License: UNKNOWN").license == ""


def test_of_the_text_of_a_license_the_classifiers_or_the_first_line_are_shown():
    text = "License: The Demo License\n        \n        Copyright Ada. All may do all."
    assert facts(text).license == "The Demo License"
    classifiers = [
        "Classifier: License :: OSI Approved :: MIT License",
        "Classifier: License :: Freeware",
        "Classifier: Typing :: Typed",
    ]
    assert facts(text, *classifiers).license == "MIT License, Freeware"
    assert facts("License: BSD", *classifiers).license == "BSD"
    assert facts(f"License: {'All may do all. ' * 20}", *classifiers).license == "MIT License, Freeware"
    assert facts(*classifiers).license == facts("License: UNKNOWN", *classifiers).license


def test_keywords_may_be_apart_by_commas_semicolons_or_spaces():
    assert facts("Keywords: one, two words").keywords == ("one", "two words")
    assert facts("Keywords: one; two words").keywords == ("one", "two words")
    assert facts("Keywords: one two").keywords == ("one", "two")


def test_a_link_that_is_stated_twice_is_shown_once():
    home, other = "https://x.test/home", "https://x.test/other"
    found = facts(f"Home-page: {home}", f"Project-URL: homepage, {home}", f"Project-URL: Source, {home}")
    assert found.urls == (("Homepage", home), ("Source", home))
    found = facts(f"Home-page: {home}", f"Project-URL: homepage, {other}")
    assert found.urls == (("Homepage", home), ("homepage", other))


def test_a_name_that_is_not_the_project_is_not_shown():
    assert facts().name == "De.Mo"
    assert release_facts("other", parse_core_metadata(HEAD.encode())).name == "other"


def test_a_thousand_requirements_are_bounded():
    found = facts(*(f"Requires-Dist: x{number}" for number in range(1000)))
    assert (len(found.requirements[""]), found.left_out) == (300, 700)


@given(st.binary(max_size=400))
def test_any_metadata_have_facts(metadata: bytes):
    release_facts("demo", parse_core_metadata(HEAD.encode() + metadata))
