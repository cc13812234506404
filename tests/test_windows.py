"""A server where all is hidden that Windows lacks: its part of `os`, and modules of POSIX."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent

#: What the documentation of `os` and of the modules does not offer on Windows. Twisted, which has code of
#: its own for Windows, is imported before it is hidden.
HIDE = """
import os, signal, sys
import twisted.internet.reactor, twisted.internet.process, twisted.internet.endpoints, twisted.web.server
import twisted.application.app, twisted.scripts.twistd, twisted.scripts._twistd_unix, twisted.internet.ssl
import asyncio, multiprocessing, platformdirs, prometheus_client, tempfile, treq
import shutil, twisted.internet.fdesc, types
twisted.internet.fdesc.os = types.SimpleNamespace(**vars(os))
# Windows has another way to tell it.
usage = shutil.disk_usage(os.curdir)
shutil.disk_usage = lambda path: usage

MISSING = '''
chown chroot ctermid fchdir fchmod fchown fdatasync fork forkpty fpathconf fstatvfs getegid geteuid getgid
getgroups getloadavg getpgid getpgrp getpriority getresuid getuid initgroups killpg lchown lockf major makedev
memfd_create minor mkfifo mknod nice openpty pathconf pidfd_open posix_fadvise posix_fallocate posix_openpt
posix_spawn pread preadv pwrite pwritev readv register_at_fork sched_getaffinity sched_yield sendfile setegid
seteuid setgid setsid setuid splice statvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 waitid
writev
'''.split()
FAMILIES = ("EX_", "POSIX_", "SCHED_", "PRIO_", "W")
for name in [*MISSING, *(name for name in dir(os) if name.startswith(FAMILIES))]:
    if name != "W_OK" and hasattr(os, name):
        delattr(os, name)
KEPT = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_APPEND", "O_CREAT", "O_EXCL", "O_TRUNC"}
for name in [name for name in dir(os) if name.startswith("O_") and name not in KEPT]:
    delattr(os, name)
for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGALRM", "SIGPIPE", "SIGCHLD", "setitimer", "pthread_sigmask"):
    delattr(signal, name)
for name in ("fcntl", "grp", "pwd", "pty", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None

sys.platform = "win32"

# Windows opens no folders, takes no descriptors of them, and neither removes nor renames what is open.
shutil._use_fd_functions = False
opened = os.open
def open_file(path, flags, mode=0o777, *, dir_fd=None):
    if dir_fd is not None:
        raise NotImplementedError("dir_fd unavailable on this platform")
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    return opened(path, flags, mode)
def unless_open(call):
    def checked(*paths, **options):
        assert not any(options.values()), options
        held = {os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")}
        if held & {os.fsdecode(os.path.realpath(path)) for path in paths}:
            raise PermissionError(13, "Another process is using the file", *paths[:1])
        return call(*paths)
    return checked
os.open = open_file
os.unlink, os.replace = unless_open(os.unlink), unless_open(os.replace)
renamed = unless_open(os.rename)
def rename(source, target):
    if os.path.lexists(target):
        raise FileExistsError(17, "Cannot create a file when that file already exists", target)
    renamed(source, target)
os.rename = rename
"""


def run_hidden(program: str, folder: Path, *words: str) -> str:
    """Run a program where it is hidden; return what it prints."""
    run = subprocess.run(
        [sys.executable, "-c", HIDE + program, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return run.stdout


SERVE = """
from time import monotonic
from http.client import HTTPConnection
from urllib.parse import urlsplit
from urllib.request import Request, urlopen
from twisted_index.cli import main
from twisted_index.config.settings import Settings, UploadSettings
from twisted_index.testing.distributions import make_sdist
from twisted_index.testing.live import RunningIndex
from tests.kit import uploads

def get(url, **headers):
    with urlopen(Request(url, headers=headers), timeout=30) as response:
        return response.read()

def upload(index, file):
    body = uploads.form(uploads.ACTION, uploads.part("content", file.content, file.filename))
    connection = HTTPConnection(urlsplit(index.url).netloc, timeout=30)
    connection.request("POST", "/legacy/", body, {"Content-Type": uploads.CONTENT_TYPE})
    return connection.getresponse().status

with RunningIndex(Settings(uploads=UploadSettings(upload=True, anonymous_upload=True))) as index:
    PROGRAM
"""


def run_server(program: str, folder: Path) -> str:
    """Run a program beside a server where it is hidden; return what it prints."""
    return run_hidden(SERVE.replace("PROGRAM", program), folder)


READ = """
    file = index.add_wheel("demo", "1.0", files={"demo/data.bin": bytes(range(256)) * 2000}, compress=False)
    print(file.filename in get(index.url + "demo/").decode())
    print(get(index.url + "demo/" + file.filename) == file.content)
    part = get(index.url + "demo/" + file.filename, Range="bytes=300000-300009")
    print(part == file.content[300000:300010])
"""


def test_without_what_windows_lacks_a_page_a_file_and_a_range_are_served(tmp_path: Path):
    assert run_server(READ, tmp_path).split() == ["True"] * 3


UPLOAD = """
    file = make_sdist("demo", "1.0")
    print(upload(index, file), upload(index, file))
    print((index.folder / "demo" / file.filename).read_bytes() == file.content)
    # An upload is closed behind its answer, and what is open cannot be removed.
    deadline = monotonic() + 20
    while (index.folder / ".uploads").exists() and monotonic() < deadline:
        get(index.url)
    print(*(path.name for path in index.folder.iterdir()))
"""


def test_without_what_windows_lacks_an_upload_is_stored_and_leaves_nothing_beside_it(tmp_path: Path):
    assert run_server(UPLOAD, tmp_path).splitlines() == ["200 200", "True", "demo"]


COMMANDS = """
    file = index.add_wheel("demo", "1.0")
    def command(word, *words):
        return main([word, "--path", str(index.folder), "--state", "state", *words])
    for words in (["--reason", "first"], ["--reason", "second"]):
        assert command("yank", file.filename, *words) == 0
    print("second" in get(index.url + "demo/").decode())
    assert command("unyank", file.filename) == 0
    print("second" in get(index.url + "demo/").decode())
    assert command("delete", file.filename) == 0
    print(file.filename in get(index.url + "demo/").decode())
    assert main(["token", "create", "ci", "--upload", "*", "--state", "state"]) == 0
"""


def test_without_what_windows_lacks_the_commands_yank_delete_and_create_tokens(tmp_path: Path):
    (tmp_path / "state").mkdir()
    lines = run_server(COMMANDS, tmp_path).splitlines()
    assert [line for line in lines if line in ("True", "False")] == ["True", "False", "False"]
    assert lines[-1].startswith("tix-")
