"""An index under test with a port, for clients in other processes, and blocking clients."""

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

#: Seconds that a start or a stop may take.
_PATIENCE = 20.0

#: A file rewritten in place shows at once, and a hanging client does not delay the end of a test.
_FOR_TESTS = Settings(rescan=0.0, limits=Limits(stop_timeout=2.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """
    A request that the server has responded to.

    Attributes:
        method: Such as `GET`.
        path: As received, percent-encoded; without the query.
        query: As received, without the question mark.
        status: The status code of the response.
        headers: The header fields of the request.
    """

    method: str
    path: str
    query: str = ""
    status: int
    headers: HeaderFields


def _method_adding(
    make: Callable[P, BuiltFile], sentence: str
) -> Callable[Concatenate[RunningIndex, P], BuiltFile]:
    """Turn a function that builds a file into a method that also adds the file to the index."""

    def add(self: RunningIndex, /, *args: P.args, **kwargs: P.kwargs) -> BuiltFile:
        return self.add(make(*args, **kwargs))

    add.__doc__ = sentence
    return add


class RunningIndex:
    """
    An index on a free port of 127.0.0.1, over a temporary folder.

        with RunningIndex() as index:
            index.add_wheel("demo", "1.0", requires=["other>=2"])
            subprocess.run([sys.executable, "-m", "pip", "download", "--index-url", index.url, "demo"])
            assert "/simple/demo/" in [seen.path for seen in index.requests]

    It is the service that `twistd simpleindex` runs, on its own reactor in its own thread: a reactor of
    the tests is neither needed nor touched. Its files are in `folder`; changes made there by hand show in
    the next response.

    Args:
        settings: The settings; paths, endpoints and `fast_path` are replaced.
    """

    def __init__(self, settings: Settings = _FOR_TESTS) -> None:
        self._settings = settings
        self._requests: list[RecordedRequest] = []
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._background: BackgroundReactor | None = None
        self._service: SimpleIndexService | None = None
        self._port = 0

    # -- From start to stop

    def start(self) -> None:
        """
        Start serving an empty folder.

        Raises:
            RuntimeError: The index runs already.
            TimeoutError: The start takes too long.
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
        # The fast path sends the same bytes, but creates no Request to record.
        settings = replace(
            self._settings, paths=(folder,), listen=("tcp:0:interface=127.0.0.1",), fast_path=False
        )
        self._background = BackgroundReactor()
        service = _RecordingService(settings, self._note, self._background.reactor)
        self._background.call(service.startService, _PATIENCE)
        self._service = service
        (address,) = service.addresses
        assert isinstance(address, IPv4Address)
        self._port = address.port

    def stop(self) -> None:
        """
        Stop, and remove the folder; no-op if the index does not run.

        Raises:
            TimeoutError: The stop takes too long.
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

    # -- URL and folder

    @property
    def base_url(self) -> str:
        """The URL of the server, with a trailing slash."""
        self._must_run()
        return f"http://127.0.0.1:{self._port}/"

    @property
    def url(self) -> str:
        """The URL for installers, as in `--index-url`."""
        return f"{self.base_url}simple/"

    @property
    def folder(self) -> Path:
        """The folder that is served."""
        return Path(self._must_run())

    def _must_run(self) -> str:
        if self._temporary is None:
            raise RuntimeError("This index is not running: use it as a context manager, or call start().")
        return self._temporary.name

    # -- Files

    def add(self, file: BuiltFile) -> BuiltFile:
        """
        Put a file into the folder of its project, replacing one of the same name.

        Returns:
            The file, unchanged.
        """
        self._put(self.folder / file.project / file.filename, file.content)
        return file

    add_wheel = _method_adding(
        make_wheel, "Make a wheel and put it into the folder; arguments as for `make_wheel`."
    )
    add_sdist = _method_adding(
        make_sdist, "Make an sdist and put it into the folder; arguments as for `make_sdist`."
    )

    def remove(self, filename: str) -> None:
        """
        Remove a file and its sidecars.

        Raises:
            FileNotFoundError: The index does not have it.
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
            filename: The name of an existing file.
            reason: One line for users.

        Raises:
            FileNotFoundError: The index does not have it.
        """
        path = self._find(filename)
        self._put(path.with_name(f"{filename}.yanked"), f"{reason}\n".encode())

    def _put(self, path: Path, content: bytes) -> None:
        """Write a file atomically, so that no request reads an incomplete one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_bytes(content)
        os.replace(temporary, path)

    def _find(self, filename: str) -> Path:
        for path in self.folder.rglob("*"):
            if path.name == filename:
                return path
        raise FileNotFoundError(f"There is no {filename} in this index.")

    # -- Requests

    @property
    def requests(self) -> list[RecordedRequest]:
        """
        The requests so far, in the order of their responses.

        Includes every request whose client has received the whole response.
        """
        self._let_finish()
        return list(self._requests)

    def clear_requests(self) -> None:
        """Clear the recorded requests."""
        self._let_finish()
        self._requests.clear()

    def _let_finish(self) -> None:
        """Wait for a reactor turn: a request is recorded just after the last bytes of its response."""
        if self._background is not None:
            self._background.call(lambda: None, _PATIENCE)

    def _note(self, request: Any) -> None:
        path, _mark, query = request.uri.decode("latin-1").partition("?")
        recorded = RecordedRequest(
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
        self._requests.append(recorded)


class _RecordingService(SimpleIndexService):
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
