"""The audit log as CSV (RFC 4180), for spreadsheets."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from twisted_index.simple.formatting import format_upload_time, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.interfaces import AuditEvent

#: Events per step, each of which takes the reactor for half a millisecond.
CSV_STEP = 64

_COLUMNS = ("by", "action", "project", "filename", "detail", "index", "address", "client")
#: Where a spreadsheet finds the start of a formula (OWASP, "CSV Injection"). One of a country with a decimal
#: comma separates cells by semicolons, and there the quotes around a cell of ours do not count.
_FORMULA = re.compile(r"(?:^|(?<=;))(?=[\s\"]*+[=+@\-\uff1d\uff0b\uff20\uff0d])")


def write_csv(events: Sequence[AuditEvent], *, head: bool = False) -> bytes:
    """
    Write rows.

    Args:
        events: In their order.
        head: Whether to write the names of the columns first.

    Returns:
        UTF-8. What a spreadsheet would take for a formula has an apostrophe in front.
    """
    text = io.StringIO()
    rows = csv.writer(text)
    if head:
        rows.writerow(("time", *_COLUMNS))
    for event in events:
        cells = (_cell(getattr(event, name)) for name in _COLUMNS)
        rows.writerow((format_upload_time(event.time), *cells))
    return text.getvalue().encode("utf-8", "replace")


def _cell(text: str) -> str:
    return _FORMULA.sub("'", one_line(text))
