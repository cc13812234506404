"""Builds the source and the store of a bucket, and what its nodes share, from settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted_index.backends.object_store.client import StoreBucket
from twisted_index.backends.object_store.history import BucketHistory
from twisted_index.backends.object_store.object_editor import ObjectEditor
from twisted_index.backends.object_store.shared_audit_log import SharedAuditLog
from twisted_index.backends.object_store.source import ObjectSource
from twisted_index.backends.object_store.store import ObjectStore
from twisted_index.backends.object_store.tokens import TokensInBucket
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.config.bucket_location import parse_location
from twisted_index.config.settings import UpstreamSettings
from twisted_index.indexes.builder import routed_away

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.backends.object_store.conditions import Conditions
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.config.settings import Settings
    from twisted_index.interfaces import IAuditLog, IIndexObserver

#: Threads that wait for what pages are made of, and as many for the bytes of files.
THREADS = 16


def build_bucket_source(settings: Settings, reactor: Any, observer: IIndexObserver | None) -> ObjectSource:
    """
    Build the source of the bucket that settings name.

    Args:
        settings: With a bucket.
        reactor: Twisted's reactor.
        observer: Notified of changes; None without one.

    Raises:
        ConfigurationError: The client library is missing, or there are no credentials.
    """
    bucket = open_bucket(settings, settings.bucket or "")
    return ObjectSource(
        bucket,
        worker=ThreadPool(reactor, threads=THREADS, name="index-bucket"),
        pieces=ThreadPool(reactor, threads=THREADS, name="index-pieces"),
        reactor=reactor,
        rescan=settings.rescan,
        response_timeout=settings.limits.response_timeout,
        state=None if settings.state is None else Path(settings.state),
        observer=observer,
        redirect=settings.objects.deliver == "redirect",
    )


def shared_tokens(settings: Settings) -> TokensInBucket | None:
    """
    Build the place of the tokens that all nodes of a bucket share: that of indexes, if there are any.

    Returns:
        None if settings name no bucket.

    Raises:
        ConfigurationError: As for the source.
    """
    url = settings.bucket_of_indexes or settings.bucket
    return None if url is None else TokensInBucket(open_bucket(settings, url), settings.rescan)


def shared_history(settings: Settings) -> BucketHistory | None:
    """
    Build the history that all nodes of a bucket share: that of indexes, if there are any; for the console.

    Returns:
        None if settings name no bucket.

    Raises:
        ConfigurationError: As for the source.
    """
    url = settings.bucket_of_indexes or settings.bucket
    return None if url is None else BucketHistory(open_bucket(settings, url))


def open_bucket(settings: Settings, url: str) -> StoreBucket:
    """
    Make the client of a bucket; nothing is requested.

    Raises:
        ConfigurationError: The client library is missing, or there are no credentials.
    """
    return StoreBucket(parse_location(url), instance_metadata=settings.objects.instance_metadata)


def build_bucket_editor(
    settings: Settings,
    source: ObjectSource,
    index: str = "",
    conditions: Callable[[], Conditions] | None = None,
    history: BucketHistory | None = None,
) -> ObjectEditor:
    """
    Build what changes a bucket, for the threads of a server and for the console.

    Args:
        settings: With a bucket.
        source: Serves it, or would.
        index: The name of the index, for the audit log.
        conditions: See `ObjectEditor`.
        history: See `ObjectEditor`.
    """
    uploads = settings.uploads
    return ObjectEditor(
        source.bucket,
        source.reader,
        known_sha256=source.known_sha256,
        single_writer=settings.objects.single_writer,
        overwrite=uploads.overwrite,
        keep_prereleases=uploads.keep_prereleases,
        min_free=uploads.min_free,
        # Routes are of the index without a name.
        routed_away=routed_away(UpstreamSettings() if index else settings.upstreams, settings.paths),
        index=index,
        conditions=conditions,
        history=history,
    )


def build_bucket_store(
    settings: Settings,
    source: ObjectSource,
    worker: IThreadRunner,
    audit_log: IAuditLog,
    index: str = "",
    conditions: Callable[[], Conditions] | None = None,
) -> ObjectStore:
    """
    Build the store of a bucket.

    Args:
        settings: With a bucket.
        source: Serves it.
        worker: Threads that receive uploads and wait for the store.
        audit_log: Records each change.
        index: See `build_bucket_editor`.
        conditions: See `ObjectEditor`.
    """
    history = audit_log.history if isinstance(audit_log, SharedAuditLog) else None
    return ObjectStore(
        source,
        worker=worker,
        audit_log=audit_log,
        editor=build_bucket_editor(settings, source, index, conditions, history),
        spool_folder=None if settings.state is None else os.fsencode(settings.state),
    )
