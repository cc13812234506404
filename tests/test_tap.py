"""The options of `simpleindex`, and the service that is made of them."""

from __future__ import annotations

import errno
import io
import os
import threading

import pytest
from twisted.application.service import IService
from twisted.internet.error import CannotListenError
from twisted.logger import globalLogPublisher
from twisted.python import usage
from twisted.python.usage import Options as ParentOptions
from zope.interface.verify import verifyObject

from twisted_index import tap
from twisted_index.config.settings import (
    AccessSettings,
    Settings,
    UploadSettings,
    UpstreamPolicy,
    UpstreamSettings,
)
from twisted_index.errors import ConfigurationError
from twisted_index.service import SimpleIndexService


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Run in an empty folder, with no setting in the environment."""
    for name in os.environ:
        if name.startswith("TWISTED_INDEX_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def settings(monkeypatch):
    """Parse a command line, and give what the service would be made with."""
    monkeypatch.setattr(tap, "_Server", lambda found, config_sources: found)

    def parse(*words: str) -> Settings:
        options = tap.Options()
        options.parseOptions(words)
        found = tap.makeService(options)
        assert isinstance(found, Settings)
        return found

    return parse


def refusal(*words):
    """The sentence that a wrong command line gets."""
    with pytest.raises(usage.UsageError) as caught:
        tap.Options().parseOptions(words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Options


def test_without_options_the_current_folder_is_served_at_port_8080(settings, here):
    assert settings() == Settings(paths=(str(here),), listen=("tcp:8080",), state=settings().state)


def test_a_bare_folder_is_a_path_and_several_are_read_in_order(settings, here):
    for name in "abc":
        (here / name).mkdir()

    assert settings("--path", "a", "b", "c").paths == (f"{here}/a", f"{here}/b", f"{here}/c")


def test_options_may_come_after_a_folder(settings, here):
    (here / "a").mkdir()

    found = settings("a", "--port", "9000", "--cors", "--access-log", "access.log")

    assert found.paths == (f"{here}/a",)
    assert found.listen == ("tcp:9000",)
    assert found.cors
    assert found.access_log == f"{here}/access.log"


def test_a_folder_may_begin_with_a_dash_after_two(settings, here):
    (here / "-a").mkdir()

    assert settings("--", "-a").paths == (f"{here}/-a",)


@pytest.mark.parametrize("words", [("-p", "9000"), ("-p9000",), ("--port=9000",), ("--listen", "9000")])
def test_a_port_is_an_endpoint(settings, words):
    assert settings(*words).listen == ("tcp:9000",)


@pytest.mark.parametrize(
    ("written", "endpoint"),
    [
        ("127.0.0.1:8080", "tcp:8080:interface=127.0.0.1"),
        ("localhost:80", "tcp:80:interface=127.0.0.1"),
        ("[::1]:8080", r"tcp:8080:interface=\:\:1"),
        ("[fe80::1%eth0]:8080", r"tcp:8080:interface=fe80\:\:1%eth0"),
        ("[::]:0", r"tcp:0:interface=\:\:"),
        ("0.0.0.0:8080", "tcp:8080:interface=0.0.0.0"),
        (":8080", "tcp:8080"),
        ("*:8080", "tcp:8080"),
    ],
)
def test_an_address_with_a_port_is_an_endpoint(settings, written, endpoint):
    assert settings("--listen", written).listen == (endpoint,)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("127.0.0.1", "--listen: '127.0.0.1' has no port; write it like 127.0.0.1:8080."),
        ("localhost", "--listen: 'localhost' has no port; write it like localhost:8080."),
        ("::1", "--listen: '::1' has no port; write it like [::1]:8080."),
        ("[::1]", "--listen: '[::1]' has no port; write it like [::1]:8080."),
        ("1.2.3:80", "--listen: 1.2.3 is not an address."),
        ("[::1]:70000", "--listen: 70000 is not a port; ports go from 0 to 65535."),
        (
            "box.example:8080",
            "Cannot listen on 'box.example:8080': 'box.example' is neither an address nor a type of endpoint."
            " Write it like 127.0.0.1:8080, or :8080 for all addresses.",
        ),
    ],
)
def test_a_place_to_listen_that_cannot_be_one_is_answered_with_its_form(here, written, sentence):
    assert refusal("--listen", written) == sentence


def test_listeners_are_added_up(settings):
    found = settings("--listen", "tcp:1:interface=127.0.0.1", "-p", "2", "--listen", "unix:/tmp/x")

    assert found.listen == ("tcp:1:interface=127.0.0.1", "tcp:2", "unix:/tmp/x")


def test_every_option_reaches_the_settings(settings, here):
    found = settings(
        *(
            "--rescan",
            "5m",
            "--state",
            "s",
            "--access-log",
            "l",
            "--add-header",
            "X-A: 1",
            "--add-header",
            "X-B: 2",
        ),
        *("--display-tracebacks", "--cors", "--public-url", "https://example.org/"),
    )

    assert found == Settings(
        paths=(str(here),),
        rescan=300.0,
        state=f"{here}/s",
        access_log=f"{here}/l",
        add_headers=((b"X-A", b"1"), (b"X-B", b"2")),
        display_tracebacks=True,
        cors=True,
        public_url="https://example.org",
    )


def test_the_file_and_the_environment_fill_in_what_is_not_given(settings, here, monkeypatch):
    (here / "index.toml").write_text('cors = true\nrescan = 7\nlisten = "tcp:1"')
    monkeypatch.setenv("TWISTED_INDEX_RESCAN", "8")

    found = settings("--config", "index.toml", "-p", "2")

    assert (found.cors, found.rescan, found.listen) == (True, 8.0, ("tcp:2",))


def test_what_was_not_given_can_be_told_from_what_was():
    options = tap.Options()
    options.parseOptions([])

    assert not any(options.values())


def test_every_option_of_uploads_and_upstreams_reaches_the_settings(settings, here):
    for name in ("users", "rights.toml"):
        (here / name).touch()

    found = settings(
        *("--upload", "--anonymous-upload", "--max-upload", "1GB", "--overwrite", "*.dev*"),
        *("--overwrite", "0.*", "--on-upload", "http://127.0.0.1/a", "--on-upload", "http://127.0.0.1/b"),
        *("--auth", "htpasswd:users", "--auth", "memory:a:b", "--rights", "rights.toml"),
        *("--trusted-proxy", "unix", "--trusted-proxy", "127.0.0.1", "--upstream", "pip"),
        *("--upstream", "https://me:secret@example.org/simple", "--upstream-mode", "cache"),
        *("--cache", "../cache", "--cache-size", "1GB", "--offline", "--local-only", "acme-*"),
        *("--local-only", "secret", "--cooldown", "7d"),
    )

    assert found.uploads == UploadSettings(
        upload=True,
        anonymous_upload=True,
        max_upload=1_000_000_000,
        overwrite=("*.dev*", "0.*"),
        on_upload=("http://127.0.0.1/a", "http://127.0.0.1/b"),
    )
    assert found.access == AccessSettings(
        auth=(f"htpasswd:{here}/users", "memory:a:b"),
        rights=f"{here}/rights.toml",
        trusted_proxies=("unix", "127.0.0.1"),
    )
    assert found.upstreams == UpstreamSettings(
        urls=("pip", "https://me:secret@example.org/simple"),
        cache=f"{here.parent}/cache",
        cache_size=1_000_000_000,
        offline=True,
        policy=UpstreamPolicy(local_only=("acme-*", "secret"), cooldown=604800.0),
    )


def test_help_stays_short():
    """An option for what few people need stands in the configuration file only."""
    assert len(tap.Options().docs) <= 33


def test_help_begins_with_what_everybody_needs():
    text = str(tap.Options())

    uploads, upstream = text.index("\nUploads and users:\n"), text.index("\nUpstream:\n")
    assert text.index("--path=") < text.index("--version") < uploads < text.index("--upload ") < upstream
    assert upstream < text.index("--upstream=") < text.index("--offline")
    assert all(text.count(f" --{name.replace('_', '-')}") >= 1 for name in tap.Options().docs)


def test_help_explains_each_option():
    assert all(tap.Options().docs.values())


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit) as caught:
        tap.Options().parseOptions(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("twisted-index ")


def test_shells_can_complete_options_and_folders():
    options = tap.Options()
    written = options._shellCompFile = io.BytesIO()

    with pytest.raises(SystemExit):
        options.parseOptions(["", "--_shell-completion", "zsh:2"])

    assert b"--public-url" in written.getvalue()
    assert b"*:folder of packages:_directories" in written.getvalue()
    assert b"(cache proxy redirect)" in written.getvalue()


# Mistakes


def test_a_folder_that_is_not_there_is_one_line(here):
    assert (
        refusal("--path", "nope") == f"The folder '{here}/nope' cannot be read: No such file or directory."
        f" Create it (mkdir -p {here}/nope), or use another."
    )


def test_a_port_in_place_of_a_folder_is_told_as_one(here):
    (here / "packages").mkdir()
    assert (
        refusal("packages", "8000") == f"The folder '{here}/8000' cannot be read: No such file or directory."
        " If 8000 is a port, write -p 8000."
    )


def test_a_file_in_place_of_a_folder_is_one_line(here):
    (here / "file").touch()

    assert refusal("file") == f"The folder '{here}/file' cannot be read: Not a directory."


def test_a_folder_that_must_not_be_read_is_one_line(here, monkeypatch):
    def refuse(_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tap.os, "scandir", refuse)  # nothing is forbidden to root

    assert refusal() == f"The folder '{here}' cannot be read: Permission denied."


@pytest.mark.parametrize(
    "endpoint",
    [
        "foo:8080",
        "tcp:notaport",
        "tcp",
        "tcp:80:nonsense=1",
        "systemd:domain=INET:index=7",
        "https:443",
        "https:443:certificate=/nope:nonsense=1",
    ],
)
def test_a_bad_endpoint_is_one_line(endpoint):
    assert refusal("--listen", endpoint).startswith(f"Cannot listen on '{endpoint}': ")


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        ("https:443:certificate=/nope:cert=1", "it has no parameter 'cert'"),
        ("https:certificate=/nope", "it names no port"),
        ("https:domain=INET:name=nope:certificate=/nope", "systemd opened no socket named 'nope'"),
        ("https", "it names no certificate=FILE"),
        ("haproxy:https:443", "it names no certificate=FILE"),
    ],
)
def test_a_bad_https_endpoint_is_explained_with_an_example_of_one(endpoint, fault):
    assert refusal("--listen", endpoint).endswith(f": {fault}. Write it like {tap._HTTPS_EXAMPLE}.")


@pytest.mark.parametrize("endpoint", ["ssl:443:privateKey=nope", "https:443:certificate=nope"])
def test_a_certificate_that_is_not_there_is_one_line(here, endpoint):
    assert refusal("--listen", endpoint).endswith(f": {here}/nope cannot be read: No such file or directory.")


def test_a_tls_endpoint_without_its_folder_is_one_line(here):
    """Twisted itself would listen, and refuse every handshake."""
    told = refusal("--listen", "tls:nope:port=8443")

    assert told.endswith(
        f"cannot be read: No such file or directory. Create it (mkdir -p {here}/nope), or use another."
    )


def test_a_bad_endpoint_of_the_environment_is_one_line(monkeypatch):
    monkeypatch.setenv("TWISTED_INDEX_LISTEN", "foo:8080")

    assert refusal().startswith("Cannot listen on 'foo:8080': ")


def test_a_log_in_a_folder_that_is_not_there_is_one_line(here):
    assert refusal("--access-log", "nope/access.log") == (
        f"The access log cannot be written: there is no folder for '{here}/nope/access.log'."
    )


@pytest.mark.parametrize("option", [("--rights", "nope"), ("--auth", "htpasswd:nope")])
def test_a_file_that_is_not_there_is_one_line(here, option):
    assert refusal(*option) == f"The file '{here}/nope' cannot be read: No such file or directory."


def test_a_folder_of_a_rule_that_is_not_there_is_one_line(here):
    (here / "index.toml").write_text('[[route]]\npattern = "a"\nfolder = "nope"')

    assert refusal("--config", "index.toml").startswith(f"The folder '{here}/nope' cannot be read: ")


@pytest.mark.parametrize("words", [("--rescan", "x"), ("--rescan=-1",), ("--frob",), ("--cors=1",), ("-p",)])
def test_a_wrong_command_line_is_one_line(words):
    assert refusal(*words)


def test_below_twistd_a_mistake_is_one_line_on_stderr_and_exit_code_64(capsys):
    options = tap.Options()
    options.parent = ParentOptions()

    with pytest.raises(SystemExit) as caught:
        options.parseOptions(["--rescan", "x"])

    output = capsys.readouterr()
    assert caught.value.code == 64
    assert output.out == ""
    assert output.err.startswith("twisted-index: --rescan: 'x' is not a duration")
    assert output.err.count("\n") == 1


# makeService


def test_make_service_gives_the_service(here):
    service = tap.makeService({"path": str(here), "listen": "0"})

    assert isinstance(service, SimpleIndexService)
    assert verifyObject(IService, service)


def test_make_service_has_no_side_effects(here):
    before = set(threading.enumerate())

    tap.makeService({"path": [here], "state": here / "state", "access-log": here / "log"})

    assert list(here.iterdir()) == []
    assert set(threading.enumerate()) <= before


def test_make_service_takes_any_mapping(settings, here):
    found = tap.makeService({"path": here, "listen": [9000, "unix:/tmp/x"], "add_header": "X-A: 1"})

    assert found.listen == ("tcp:9000", "unix:/tmp/x")
    assert found.add_headers == ((b"X-A", b"1"),)


def test_make_service_refuses_what_cannot_work():
    with pytest.raises(ConfigurationError):
        tap.makeService({"path": "nope"})


# A start that fails


def failed_start(error):
    """What is raised, and what is logged, when a start fails."""

    def fail():
        raise error

    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        with pytest.raises(tap.StartupError) as caught:
            tap._start_or_exit(fail)
    finally:
        globalLogPublisher.removeObserver(events.append)
    (reason,) = (event["reason"] for event in events if event["log_level"].name == "critical")
    return caught.value, reason


def test_a_busy_port_is_one_line_in_the_log_and_exit_code_1():
    busy = OSError(errno.EADDRINUSE, "Address already in use")

    raised, logged = failed_start(CannotListenError("", 8080, busy))

    assert raised.code == 1
    assert logged == "Cannot listen on port 8080: Address already in use. Is another server running there?"


def test_a_forbidden_port_is_told_as_that():
    _, logged = failed_start(CannotListenError("", 80, PermissionError(errno.EACCES, "Permission denied")))

    assert logged == "Cannot listen on port 80: Permission denied."


def test_a_socket_that_cannot_be_made_is_told_with_its_path():
    _, logged = failed_start(CannotListenError(None, b"/run/x", FileNotFoundError(errno.ENOENT, "No such")))

    assert logged == "Cannot listen on /run/x: No such."


def test_a_port_of_one_address_is_told_with_it():
    _, logged = failed_start(CannotListenError("203.0.113.9", 80, OSError(errno.EADDRNOTAVAIL, "Not here")))

    assert logged == "Cannot listen on port 80 of 203.0.113.9: Not here."


def test_a_file_that_cannot_be_made_is_told_with_its_path():
    _, logged = failed_start(FileNotFoundError(errno.ENOENT, "No such file", "123", None, b"/run/x.lock"))

    assert logged == "Cannot start: No such file: /run/x.lock."


@pytest.mark.parametrize("error", [OverflowError("port must be 0-65535."), OSError("a\nb"), OverflowError()])
def test_other_errors_of_the_system_are_one_line(error):
    _, logged = failed_start(error)

    assert logged.startswith("Cannot start: ")
    assert "\n" not in logged


def test_twistd_sees_a_failed_start_as_an_exception_and_python_as_an_exit():
    """Without the first its pid file stays and its daemon is waited for; without the other: a traceback."""
    raised = tap.StartupError("It cannot.")

    assert isinstance(raised, Exception)
    assert isinstance(raised, SystemExit)
    assert str(raised) == "It cannot."
