"""
A kit for testing with package indexes.

It is public: programs that embed an index, or install from one, may use it in their own tests.

Distribution files, made in memory; the same arguments give the same bytes:

    wheel = make_wheel("demo", "1.0", requires=["other>=2"])
    wheel.write_to(folder)  # folder / "demo-1.0-py3-none-any.whl", and pip installs it

A source to put them in, and an index of it without a port:

    source = MemorySource(wheel)
    source.add(make_sdist("demo", "1.1"), yanked="broken")
    assert IndexInMemory(source).get("/simple/demo/").status == 200

It can be told who may do what, and where files are published; over a folder that is made for it:

    index = IndexInMemory(source, access=our_access, store=our_store)  # any IAccess, any IStore
    index = IndexInMemory.of_folders(folder, overwrite=())  # everyone may upload into the folder
    index.get("/legacy/", method="POST", headers={"Content-Type": ...}, body=form)

And an index with a port, for real installers; as a fixture in `twisted_index.testing.fixtures`:

    with RunningIndex() as index:
        index.add(wheel)
        run_our_installer("--index-url", index.url)

It takes all that can be set for a server, such as uploads and an upstream:

    uploads = Publishing(upload=True, anyone_may_upload=True)
    upstreams = Upstreams(urls=(other_index.url,), mode="proxy")
    with RunningIndex(Settings(publishing=uploads, upstreams=upstreams)) as index:
        run_our_publisher("--repository-url", f"{index.base_url}legacy/")

Not for: building real distributions. There is no project here, only what installers look at.
"""

from twisted_index.testing.harness import AtOnce, Connection, IndexInMemory, SiteInMemory
from twisted_index.testing.made import Contents, MadeFile, make_sdist, make_wheel
from twisted_index.testing.memory import ADDED, MemorySource, Question
from twisted_index.testing.replies import Fields, NoReply, Reply
from twisted_index.testing.running import RunningIndex, SeenRequest

__all__ = [
    "ADDED",
    "AtOnce",
    "Connection",
    "Contents",
    "Fields",
    "IndexInMemory",
    "MadeFile",
    "MemorySource",
    "NoReply",
    "Question",
    "Reply",
    "RunningIndex",
    "SeenRequest",
    "SiteInMemory",
    "make_sdist",
    "make_wheel",
]
