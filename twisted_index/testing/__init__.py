"""
A kit for testing with package indexes.

It is public: programs that embed an index, or install from one, may use it in their own tests.

Distribution files, built in memory; equal arguments give equal bytes:

    wheel = make_wheel("demo", "1.0", requires=["other>=2"])
    wheel.write_to(folder)  # folder / "demo-1.0-py3-none-any.whl", and pip installs it

A source for them, and an index of it without a port:

    source = MemorySource(wheel)
    source.add(make_sdist("demo", "1.1"), yanked="broken")
    assert IndexInMemory(source).get("/simple/demo/").status == 200

With access control and a store of your own; or over a folder:

    index = IndexInMemory(source, access=our_access, store=MemoryStore(source))
    index = IndexInMemory.of_folders(folder, overwrite=())  # everyone may upload into the folder
    index.get("/legacy/", method="POST", headers={"Content-Type": ...}, body=form)

And an index with a port, for real installers; as a fixture in `twisted_index.testing.fixtures`:

    with RunningIndex() as index:
        index.add(wheel)
        run_our_installer("--index-url", index.url)

It accepts every setting of a server, such as uploads and an upstream:

    uploads = UploadSettings(upload=True, anonymous_upload=True)
    upstreams = UpstreamSettings(urls=(other_index.url,), mode="proxy")
    with RunningIndex(Settings(uploads=uploads, upstreams=upstreams)) as index:
        run_our_publisher("--repository-url", f"{index.base_url}legacy/")

Tests that a source or a store of your own fulfils its contract; see `contracts`:

    class TestNightly(SourceContract):
        def harness(self):
            return NightlyHarness()

Out of scope: building real distributions; the files contain only what installers read.
"""

from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.testing.contracts import SourceContract, SourceHarness, StoreContract, StoreHarness
from twisted_index.testing.distributions import BuiltFile, Contents, make_sdist, make_wheel
from twisted_index.testing.in_memory import Connection, IndexInMemory, SiteInMemory
from twisted_index.testing.live import RecordedRequest, RunningIndex
from twisted_index.testing.memory_source import ADDED, MemorySource, SourceCall
from twisted_index.testing.memory_store import MemorySpool, MemoryStore
from twisted_index.testing.responses import HeaderFields, IncompleteResponse, ReceivedResponse

__all__ = [
    "ADDED",
    "BuiltFile",
    "Connection",
    "Contents",
    "HeaderFields",
    "IncompleteResponse",
    "IndexInMemory",
    "MemorySource",
    "MemorySpool",
    "MemoryStore",
    "ReceivedResponse",
    "RecordedRequest",
    "RunningIndex",
    "SiteInMemory",
    "SourceCall",
    "SourceContract",
    "SourceHarness",
    "StoreContract",
    "StoreHarness",
    "SynchronousRunner",
    "make_sdist",
    "make_wheel",
]
