"""The answer to "why?" as text, HTML and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from twisted.web.template import tags

from twisted_index.simple.explanation import SourceKind
from twisted_index.simple.formatting import format_upload_time
from twisted_index.web.pages.elements import table
from twisted_index.web.pages.layout import html_page

if TYPE_CHECKING:
    from twisted_index.indexes.why import Why, WhyLine
    from twisted_index.simple.explanation import SourceAnswer
    from twisted_index.web.pages.layout import Frame


def write_why_text(why: Why) -> bytes:
    """Write what was asked, then a line for each file."""
    sources = [f"  {at}. {_source(answer, why)}" for at, answer in enumerate(why.sources, 1)]
    width = max((len(line.filename) for line in why.lines), default=0)
    files = [f"  {line.filename:{width}}  {_line(line, _where(line, why))}" for line in why.lines]
    parts = [
        _heading(why),
        why.summary,
        _owner(why),
        "Sources, in the order of asking:",
        *sources,
        _files(why),
        *files,
        *_rest(why),
        "",
    ]
    return "\n".join(parts).encode("utf-8", "replace")


def write_why_json(why: Why) -> bytes:
    """Write JSON; times are as on project pages: `yyyy-mm-ddThh:mm:ssZ`."""
    owner = why.owner
    document = {
        "project": why.project,
        "version": why.version or None,
        "index": why.index,
        "page": {"status": why.status, "message": why.summary},
        "owner": None if owner is None else {**_identity(owner), "entry": owner.entry or None},
        "sources": [
            {**_identity(answer), "asked": answer.asked, "says": answer.says} for answer in why.sources
        ],
        "files": list(map(_file, why.lines)),
        "left_out": why.left_out,
    }
    return json.dumps(document).encode("ascii") + b"\n"


def _identity(answer: SourceAnswer) -> dict[str, object]:
    return {"kind": answer.kind.value, "name": answer.name, "index": answer.index}


def _file(line: WhyLine) -> dict[str, object]:
    hidden = line.hidden
    until = None if hidden is None or hidden.until is None else format_upload_time(hidden.until)
    return {
        "filename": line.filename,
        "version": line.version or None,
        "listed": hidden is None,
        "hidden_by": None if hidden is None else hidden.obstacle.value,
        "reason": line.says,
        "until": until,
        "index": line.index,
        "path": line.path or None,
    }


def write_why_page(why: Why, frame: Frame) -> bytes:
    """Write a list of the sources and a table of the files."""
    rows = ((tags.code(line.filename), _line(line, _where(line, why))) for line in why.lines)
    heading = _heading(why)
    return html_page(
        heading,
        tags.h1(heading),
        tags.p(why.summary),
        tags.p(_owner(why)),
        tags.p(tags.a(f"The project {why.project}", href=f"{frame.root}project/{why.project}/"))
        if why.status == 200
        else "",
        tags.h2("Sources, in the order of asking"),
        tags.ol([tags.li(_source(answer, why)) for answer in why.sources]),
        tags.h2(_files(why).removesuffix(":")),
        table(("File", "Why"), rows, caption="Files") if why.lines else "",
        [tags.p(text) for text in _rest(why)],
        frame=frame,
    )


# -- Sentences


def _heading(why: Why) -> str:
    name = f"{why.project}=={why.version}" if why.version else why.project
    return f"Why {name}{f' in {why.index}' if why.index else ''}"


def _owner(why: Why) -> str:
    owner = why.owner
    if owner is None:
        return "No source has taken the name."
    return f"The name is taken by {owner.name}{f', because of {owner.entry}' if owner.entry else ''}."


def _source(answer: SourceAnswer, why: Why) -> str:
    foreign = answer.kind is SourceKind.UPSTREAM and answer.index not in (None, why.index)
    of_index = f" (of index {answer.index})" if foreign and answer.index else ""
    return f"{answer.name}{of_index}: {answer.says}"


def _files(why: Why) -> str:
    return "Files:" if why.lines else "No file of it is known."


def _line(line: WhyLine, where: str) -> str:
    verdict = "listed" if line.hidden is None else f"left out ({line.hidden.obstacle.value})"
    return f"{verdict}{where}{f': {line.says}' if line.says else ''}"


def _where(line: WhyLine, why: Why) -> str:
    """Name the index that has a file, if that is another than the one that was asked."""
    if line.index == why.index:
        return ""
    return f" in {line.index}" if line.index else " in the index without a name"


def _rest(why: Why) -> list[str]:
    if not why.left_out:
        return []
    return [f"{why.left_out} more files are not shown; name a version, such as {why.project}==1.0."]
