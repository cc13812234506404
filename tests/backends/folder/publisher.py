"""
A process that publishes, for tests of races and of sudden ends.

    python publisher.py race ROOT SEED            one wheel of one name, whose bytes hang on SEED
    python publisher.py loop ROOT SEED [hidden]   wheel after wheel, until it is killed
"""

from __future__ import annotations

import itertools
import os
import sys

from twisted_index.backends.folder.blocking_store import BlockingStore, retry_while_locked
from twisted_index.backends.folder.publish import Preparation
from twisted_index.backends.layout.candidate import Candidate
from twisted_index.errors import Conflict
from twisted_index.files import anonymous_file
from twisted_index.files.anonymous_file import open_anonymous, sweep
from twisted_index.simple.names import parse_filename
from twisted_index.testing import BuiltFile, make_wheel


def publish(editor: BlockingStore, made: BuiltFile) -> bool | None:
    """Say whether the file is new; None if other bytes were there."""
    file = open_anonymous(editor.root)
    try:
        for start in range(0, made.size, 4096):
            file.write(made.content[start : start + 4096])
        candidate = Candidate(
            file=file, distribution=parse_filename(made.filename), sha256=made.sha256, size=made.size
        )
        for step in Preparation(candidate).steps:
            step()
        publication = retry_while_locked(editor.publish, candidate)
        if publication is not None:
            publication.close()
        return publication is not None
    except Conflict:
        return None
    finally:
        file.close()


def wheel(version: str, seed: int) -> BuiltFile:
    """Make a wheel of some size, whose bytes hang on the seed."""
    text = f"{seed}\n" * 3000
    return make_wheel("demo", version, files={"demo/text.py": text}, compress=False)


def main(action: str, root: str, seed: str = "0", hidden: str = "") -> None:
    if hidden:
        anonymous_file._O_TMPFILE = 0
    editor = BlockingStore([os.fsencode(root)], overwrite=("0.*",))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    if action == "race":
        print({True: "new", False: "same", None: "conflict"}[publish(editor, wheel("1.0", int(seed)))])
        return
    for number in itertools.count():
        sweep(os.fsencode(root))
        # Some new, some in the place of others, some deleted.
        publish(editor, wheel(f"0.{number % 5}", number))
        publish(editor, wheel(f"1.{seed}.{number}", number))
        if number % 3 == 0:
            retry_while_locked(editor.delete, "demo", f"demo-1.{seed}.{number}-py3-none-any.whl", by="a")


if __name__ == "__main__":
    main(*sys.argv[1:])
