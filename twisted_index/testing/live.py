"""An index under test with a port, for clients that are other processes, or that block."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from twisted.internet.address import IPv4Address

from twisted_index.config.settings import Limits, Settings
from twisted_index.service import SimpleIndexService
from twisted_index.testing.distributions import BuiltFile, make_sdist, make_wheel
from twisted_index.testing.reactor_thread import BackgroundReactor
from twisted_index.testing.responses import HeaderFields

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

P = ParamSpec("P")

#: Seconds that a start, or a stop, may take.
_PATIENCE = 20.0

#: A file that was rewritten in place shows at once, and a client that hangs ends no later than the test.
_FOR_TESTS = Settings(rescan=0.0, limits=Limits(stop_timeout=2.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """
    A request that was answered.

    Attributes:
        method: Such as `GET`.
        path: As it came, percent-encoded; without the query.
        query: What came after the question mark, as it came.
        status: The status code of the answer.
        headers: The header fields of the request.
    """

    method: str
    path: str
    query: str = ""
    status: int
    headers: HeaderFields


def _adding(make: Callable[P, BuiltFile], sentence: str) -> Callable[Concatenate[RunningIndex, P], BuiltFile]:
    """Make a method out of a maker: the same arguments, and the file goes to the index."""

    def add(self: RunningIndex, /, *args: P.args, **kwargs: P.kwargs) -> BuiltFile:
        return self.add(make(*args, **kwargs))

    add.__doc__ = sentence
    return add


class RunningIndex:
    """
    An index on a free port of 127.0.0.1, over a folder of its own.

        with RunningIndex() as index:
            index.add_wheel("demo", "1.0", requires=["other>=2"])
            subprocess.run([sys.executable, "-m", "pip", "download", "--index-url", index.url, "demo"])
            assert "/simple/demo/" in [seen.path for seen in index.requests]

    It is the service that `twistd simpleindex` runs, on a reactor of its own in a thread of its own:
    the reactor of the tests, if they have one, is neither needed nor touched. Its files are in
    `folder`, and whatever is done there by hand is in the next answer.

    Args:
        settings: All that can be set; its paths, endpoints and `fast_path` are replaced.
    """

    def __init__(self, settings: Settings = _FOR_TESTS) -> None:
        self._settings = settings
        self._seen: list[RecordedRequest] = []
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._background: BackgroundReactor | None = None
        self._service: SimpleIndexService | None = None
        self._port = 0

    # -- From start to stop

    def start(self) -> None:
        """
        Begin to serve an empty folder.

        Raises:
            RuntimeError: It runs already.
            TimeoutError: It does not come up.
        """
        if self._temporary is not None:
            raise RuntimeError("This index is already running.")
        self._temporary = tempfile.TemporaryDirectory(prefix="index-under-test-")
        try:
            self._serve(self._temporary.name)
        except BaseException:
            self.stop()
            raise

    def _serve(self, folder: str) -> None:
        # The fast path gives the same bytes, and has no Request of which to tell.
        settings = replace(
            self._settings, paths=(folder,), listen=("tcp:0:interface=127.0.0.1",), fast_path=False
        )
        self._background = BackgroundReactor()
        service = _WatchedService(settings, self._note, self._background.reactor)
        self._background.call(service.startService, _PATIENCE)
        self._service = service
        (address,) = service.addresses
        assert isinstance(address, IPv4Address)
        self._port = address.port

    def stop(self) -> None:
        """
        Stop, and remove the folder. Harmless if it does not run.

        Raises:
            TimeoutError: Something does not end.
        """
        background, self._background = self._background, None
        service, self._service = self._service, None
        temporary, self._temporary = self._temporary, None
        try:
            if background is not None:
                try:
                    if service is not None:
                        background.call(service.stopService, _PATIENCE)
                finally:
                    background.stop(_PATIENCE)
        finally:
            if temporary is not None:
                temporary.cleanup()

    def __enter__(self) -> RunningIndex:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- Where it is

    @property
    def base_url(self) -> str:
        """The URL of the server, with a slash at its end."""
        self._must_run()
        return f"http://127.0.0.1:{self._port}/"

    @property
    def url(self) -> str:
        """The URL that installers take, as in `--index-url`."""
        return f"{self.base_url}simple/"

    @property
    def folder(self) -> Path:
        """The folder that is served."""
        return Path(self._must_run())

    def _must_run(self) -> str:
        if self._temporary is None:
            raise RuntimeError("This index is not running: use it as a context manager, or call start().")
        return self._temporary.name

    # -- What it serves

    def add(self, file: BuiltFile) -> BuiltFile:
        """
        Put a file into the folder of its project, or in the place of the one of the same name.

        Returns:
            The file, unchanged.
        """
        self._put(self.folder / file.project / file.filename, file.content)
        return file

    add_wheel = _adding(make_wheel, "Make a wheel and put it into the folder; arguments as for `make_wheel`.")
    add_sdist = _adding(
        make_sdist, "Make an sdist and put it into the folder; arguments as for `make_sdist`."
    )

    def remove(self, filename: str) -> None:
        """
        Remove a file, and what says something about it, such as that it is yanked.

        Raises:
            FileNotFoundError: It is not here.
        """
        path = self._find(filename)
        path.unlink()
        for sidecar in list(path.parent.iterdir()):
            if sidecar.name.startswith(f"{filename}."):
                sidecar.unlink()

    def yank(self, filename: str, reason: str = "") -> None:
        """
        Yank a file (PEP 592).

        Args:
            filename: Of a file that is here.
            reason: One line for people.

        Raises:
            FileNotFoundError: It is not here.
        """
        path = self._find(filename)
        self._put(path.with_name(f"{filename}.yanked"), f"{reason}\n".encode())

    def _put(self, path: Path, content: bytes) -> None:
        """Write a file so that no request meets one half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.part")
        unfinished.write_bytes(content)
        os.replace(unfinished, path)

    def _find(self, filename: str) -> Path:
        for path in self.folder.rglob("*"):
            if path.name == filename:
                return path
        raise FileNotFoundError(f"There is no {filename} in this index.")

    # -- What it was asked

    @property
    def requests(self) -> list[RecordedRequest]:
        """
        The requests so far, in the order in which they were answered.

        A client that has its whole answer finds its request here.
        """
        self._let_finish()
        return list(self._seen)

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        self._let_finish()
        self._seen.clear()

    def _let_finish(self) -> None:
        """Wait for a turn of the reactor: the last bytes of an answer leave just before it is noted."""
        if self._background is not None:
            self._background.call(lambda: None, _PATIENCE)

    def _note(self, request: Any) -> None:
        path, _mark, query = request.uri.decode("latin-1").partition("?")
        seen = RecordedRequest(
            method=request.method.decode("latin-1"),
            path=path,
            query=query,
            status=request.code,
            headers=HeaderFields(
                tuple(
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, values in request.requestHeaders.getAllRawHeaders()
                    for value in values
                )
            ),
        )
        self._seen.append(seen)


class _WatchedService(SimpleIndexService):
    """The service, recording each request."""

    def __init__(self, settings: Settings, note: Callable[[Any], None], reactor: Any) -> None:
        super().__init__(settings, reactor=reactor)
        self._note = note

    def _build(self) -> None:
        super()._build()
        site, log = self._site, self._site.log

        def note_and_log(request: Any, *, aborted: bool = False) -> None:
            self._note(request)
            log(request, aborted=aborted)

        site.log = note_and_log  # type: ignore[method-assign]
