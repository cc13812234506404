"""The files that are left out, as a table."""

from __future__ import annotations

import html5lib

from twisted_index.interfaces import Problem, ProblemReport
from twisted_index.web.pages.layout import Frame
from twisted_index.web.pages.problems import MOST_ROWS, write_problems_page

ONE = Problem(path="<b>.whl", reason="Its name & version differ.", advice="Rename it.")


def parse(report: ProblemReport):
    page = write_problems_page(report, Frame(root="../"))
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(page, transport_encoding="utf-8")


def test_each_file_has_its_reason_and_what_to_do():
    (row,) = parse(ProblemReport(problems=(ONE,))).findall(".//tbody/tr")
    assert ["".join(cell.itertext()) for cell in row] == [ONE.path, ONE.reason, ONE.advice]


def test_a_file_of_a_project_leads_to_what_says_more():
    root = parse(ProblemReport(problems=(ONE, Problem(path="demo/De.Mo-1.0.tar.gz", reason="", advice=""))))
    assert [link.get("href") for link in root.findall(".//tbody//a")] == ["../-/why/de-mo"]


def test_a_long_table_ends_and_says_where_the_rest_is():
    root = parse(ProblemReport(problems=(ONE,) * (MOST_ROWS + 2)))
    assert len(root.findall(".//tbody/tr")) == MOST_ROWS
    assert [p.text for p in root.findall(".//main/p")] == ["2 files more: this page as JSON has all."]
