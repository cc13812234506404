"""
Reads archives within limits, from an open, seekable, binary file; nothing is unpacked to disk.

All functions block: callers run them in a thread. The reactor shares the interpreter with that thread, so
little time is spent in Python and most in zlib, bz2 and lzma, which release the GIL. That is why the
archive formats are implemented here: for a wheel of 200 members `zipfile` takes six times as long, because
it creates an object for each; for a tar of 300 small members `tarfile` takes about twice as long, unpacking
included, and hostile headers make it use unbounded memory.

Out of scope: what a wheel or an sdist is (see `core_metadata`).
"""
