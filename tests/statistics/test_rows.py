"""Rows of the statistics as text, and how many there may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_index.statistics.rows import (
    ANY_CLIENT,
    MOST_OF_FILE,
    MOST_ROWS,
    UNNAMED,
    Client,
    Row,
    RowBound,
    Rows,
    add_bounded,
    read_rows,
    write_rows,
)

PIP = Client("pip", "3.13", "Linux", "yes")
ROW = ("", "demo", "demo-1.0-py3-none-any.whl", PIP)


def test_rows_are_read_as_they_were_written():
    rows: Rows = {ROW: 7, ("dev", "demo", "demo-1.0.tar.gz", ANY_CLIENT): 12}
    assert dict(read_rows(write_rows(rows).split(b"\n"))) == rows


def test_beyond_the_bound_rows_are_still_told_apart_by_index():
    bound = RowBound((), others=20_000)
    assert bound.place(("dev", "demo", "demo-1.0.tar.gz", PIP)) == ("dev", UNNAMED, UNNAMED, ANY_CLIENT)


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
    bound = RowBound(rows, others=MOST_ROWS - 3)
    for project, file, downloads in added:
        row = bound.place(("", project, f"{file}.whl", PIP))
        rows[row] = rows.get(row, 0) + downloads
    assert sum(rows.values()) == sum(downloads for _project, _file, downloads in added)
    assert len([row for row in rows if row[3] == PIP]) <= 3


def test_rows_have_a_bound_whatever_is_downloaded():
    rows: Rows = {}
    add_bounded(rows, ((("", f"p{number}", f"{number}.whl", PIP), 1) for number in range(60_000)))
    assert len(rows) <= 20_001
    assert rows["", UNNAMED, UNNAMED, ANY_CLIENT] == 40_000


def kinds_of(file: str, number: int) -> list[tuple[Row, int]]:
    """Give rows of a file that clients of so many kinds took once."""
    return [(("", "demo", file, Client("pip", f"3.{kind}", "Linux")), 1) for kind in range(number)]


def test_one_file_for_many_kinds_of_clients_takes_no_rows_from_other_files():
    rows: Rows = {}
    add_bounded(rows, kinds_of("demo-1.0.tar.gz", MOST_ROWS))
    assert len(rows) == MOST_OF_FILE + 1
    assert rows["", "demo", "demo-1.0.tar.gz", ANY_CLIENT] == MOST_ROWS - MOST_OF_FILE
    add_bounded(rows, [(ROW, 1)])
    assert rows[ROW] == 1


def test_the_bound_of_a_file_holds_for_all_that_is_added_in_a_day():
    rows: Rows = {}
    for start in range(0, MOST_ROWS, 50):
        add_bounded(rows, kinds_of("demo-1.0.tar.gz", start + 50)[start:])
    assert len(rows) <= MOST_OF_FILE + 1
    assert sum(rows.values()) == MOST_ROWS


def test_a_file_that_has_a_row_keeps_it_when_no_more_files_are_told_apart():
    rows: Rows = {}
    add_bounded(rows, kinds_of("demo-1.0.tar.gz", MOST_OF_FILE + 1))
    add_bounded(rows, ((("", f"p{number}", f"{number}.whl", PIP), 1) for number in range(60_000)))
    add_bounded(rows, kinds_of("demo-1.0.tar.gz", MOST_OF_FILE + 3)[-2:])
    assert rows["", "demo", "demo-1.0.tar.gz", ANY_CLIENT] == 3
