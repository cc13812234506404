"""`twisted-index why`: why a project, or a file of it, is there or is not."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted_index.cli._edit import IndexOptions
from twisted_index.cli._reactor import run_in_reactor
from twisted_index.cli._server_state import settings_of_server
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.config.option_order import parse_positionals
from twisted_index.config.settings import AccessSettings, UploadSettings
from twisted_index.errors import ConfigurationError
from twisted_index.indexes.composite import explain
from twisted_index.indexes.scope import Scope
from twisted_index.indexes.why import Asker, answer_why
from twisted_index.resolution.wheel_fit import fits_pythons, python_word
from twisted_index.server.upstreams import cache_folder
from twisted_index.server.wiring import build_components
from twisted_index.simple.name_patterns import is_index_name
from twisted_index.simple.names import InvalidFilename, is_valid_name, normalize, parse_filename
from twisted_index.web.pages.why import write_why_json, write_why_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.config.settings import Settings
    from twisted_index.indexes.why import Why
    from twisted_index.interfaces import Explanation

#: Seconds for which the files of a project may be read: nothing else waits.
_PATIENCE = 3600.0


class WhyOptions(IndexOptions):
    """The options of `why`."""

    synopsis = "Usage: twisted-index why [options] PROJECT | PROJECT==VERSION"
    longdesc = (
        "Says why the page of a project is what it is: which sources are asked in which order, who owns the"
        " name and by which entry, and for each known file whether it is listed, or what hides it and until"
        " when. Reads the folders, and of upstreams what the server has in its cache. Exits with 0 if a file"
        " of it is listed, else with 1."
    )
    optParameters = [  # noqa: RUF012
        ["python", None, None, "Say too which listed files do not fit this Python, such as 3.12."],
    ]
    optFlags = [  # noqa: RUF012
        ["ask", None, "Ask upstreams what a request for the page would ask."],
        ["json", None, "Print one JSON object, as /-/why/PROJECT."],
    ]


def run(arguments: Sequence[str]) -> int:
    """Explain a project; 1 if no file of it is listed."""
    options = WhyOptions()
    words = parse_positionals(options, arguments, range(1, 2))
    if words is None:
        return 0
    project, version = _release(words[0])
    python = _python(options["python"])
    index = options["index"] or ""
    if index and not is_index_name(index):
        raise ConfigurationError(f"{index!r} is not the name of an index.")
    given = {name: options[name] for name in ("path", "state", "config", "indexes")}
    settings = _looking(settings_of_server(given))
    outcome: list[Why] = []

    async def look(reactor: Any) -> int:
        found = await _explain(settings, reactor, project, index, asks=bool(options["ask"]))
        why = answer_why(found, project, version, index, Asker())
        outcome.append(why if python is None else _with_fit(why, found, python))
        return 0

    if run_in_reactor(look):
        return 1
    why = outcome[0]
    write = write_why_json if options["json"] else write_why_text
    sys.stdout.write(write(why).decode())
    if why.status not in (200, 404) and settings.upstreams.all_upstreams and not options["ask"]:
        print("twisted-index: No upstream was asked; --ask asks as a page does.", file=sys.stderr)
    return 0 if any(line.hidden is None for line in why.lines) else 1


def _release(word: str) -> tuple[str, str]:
    """Split the name of a project, and a version or an empty text."""
    name, equals, version = (part.strip() for part in word.partition("=="))
    if not is_valid_name(name) or bool(equals) != bool(version):
        raise ConfigurationError(f"{word!r} is neither PROJECT nor PROJECT==VERSION.")
    return normalize(name), version


def _python(word: str | None) -> str | None:
    try:
        return None if word is None else python_word(word)
    except ValueError as error:
        raise ConfigurationError(f"--python: {error}.") from None


def _looking(settings: Settings) -> Settings:
    """Return settings that change nothing: without users and uploads, and without what a server keeps."""
    for path in () if settings.bucket else settings.paths:
        if not os.path.isdir(path):
            raise ConfigurationError(f"There is no folder {path!r}.")
    return replace(
        settings,
        state=settings.state if settings.state and os.path.isdir(settings.state) else None,
        uploads=UploadSettings(),
        access=AccessSettings(),
        upstreams=replace(settings.upstreams, cache=cache_folder(settings)),
        limits=replace(settings.limits, response_timeout=_PATIENCE),
    )


async def _explain(settings: Settings, reactor: Any, project: str, index: str, *, asks: bool) -> Explanation:
    parts = build_components(settings, reactor, looks=True, asks=asks)
    try:
        assert parts.indexes is not None
        scope = Scope(index=index)
        await result_of(parts.indexes.look, scope)
        served = parts.indexes.find(scope)
        return await explain(served.source, project)
    finally:
        await parts.resource.close()
        for worker in parts.workers:
            await worker.stop()
        if parts.shared is not None:
            await parts.shared.stop()


def _unfit(found: Explanation, python: str) -> frozenset[str]:
    """Return the names of the listed files that a Python cannot use."""
    names = set()
    for file in found.files:
        try:
            distribution = parse_filename(file.filename)
        except InvalidFilename:
            continue
        if not fits_pythons(distribution, file.requires_python, [python]):
            names.add(file.filename)
    return frozenset(names)


def _with_fit(why: Why, found: Explanation, python: str) -> Why:
    """Say of each listed file that does not fit that it does not."""
    unfit = _unfit(found, python)
    lines = (
        replace(line, says=f"{line.says} It does not fit Python {python}.".strip())
        if line.hidden is None and line.filename in unfit
        else line
        for line in why.lines
    )
    return replace(why, lines=tuple(lines))
