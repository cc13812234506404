"""Rows of the statistics as text, and how many there may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_index.statistics.rows import (
    ANY_CLIENT,
    MOST_ROWS,
    UNNAMED,
    Client,
    Rows,
    add_row,
    bounded,
    read_rows,
    write_rows,
)

PIP = Client("pip", "3.13", "Linux", "yes")
ROW = ("", "demo", "demo-1.0-py3-none-any.whl", PIP)


def test_rows_are_read_as_they_were_written():
    rows: Rows = {ROW: 7, ("dev", "demo", "demo-1.0.tar.gz", ANY_CLIENT): 12}
    assert dict(read_rows(write_rows(rows).split(b"\n"))) == rows


def test_beyond_the_bound_rows_are_still_told_apart_by_index():
    assert bounded(("dev", "demo", "demo-1.0.tar.gz", PIP), 20_000) == ("dev", UNNAMED, UNNAMED, ANY_CLIENT)


def test_a_file_is_for_spreadsheets():
    assert write_rows({ROW: 7}).decode() == (
        "index\tproject\tfile\tinstaller\tpython\tsystem\tci\tdownloads\n"
        "\tdemo\tdemo-1.0-py3-none-any.whl\tpip\t3.13\tLinux\tyes\t7\n"
    )


def test_what_is_no_row_is_passed_over():
    good = write_rows({ROW: 7}).split(b"\n")
    bad = [
        b"",
        b"\xff\t\t\t",
        b"\t" * 7,
        b"\t\t\t\t\t\t\t-1",
        b"\t\t\t\t\t\t\t" + b"9" * 50,
        b"\t" * 8 + b"1",
    ]
    assert dict(read_rows([*bad, *good, *bad])) == {ROW: 7}


def test_a_day_of_10_000_files_has_less_than_a_megabyte():
    rows = {
        (
            "",
            f"project-{number}",
            f"project_{number}-1.{number}.0-cp313-cp313-manylinux_2_28_x86_64.whl",
            PIP,
        ): 1
        for number in range(10_000)
    }
    assert len(write_rows(rows)) < 1_000_000


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(1, 9)), max_size=30))
def test_a_full_day_loses_details_and_no_download(added: list[tuple[str, int, int]]):
    rows: Rows = {}
    for project, file, downloads in added:
        add_row(rows, ("", project, f"{file}.whl", PIP), downloads, others=MOST_ROWS - 3)
    assert sum(rows.values()) == sum(downloads for _project, _file, downloads in added)
    assert len([row for row in rows if row[3] == PIP]) <= 3


def test_rows_have_a_bound_whatever_is_downloaded():
    rows: Rows = {}
    for number in range(60_000):
        add_row(rows, ("", f"p{number}", f"{number}.whl", PIP), 1)
    assert len(rows) <= 20_001
    assert rows["", UNNAMED, UNNAMED, ANY_CLIENT] == 40_000
