"""
Maps each endpoint to its URLs, its methods, the right that each method requires, and its views.

Out of scope: which path names which endpoint (see `web.requests.routes`). `web.dispatcher` binds the
views to their instances.
"""

from __future__ import annotations

import enum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from twisted_index.interfaces import Action
from twisted_index.statistics.pypistats import TABLES
from twisted_index.web.requests.routes import Endpoint
from twisted_index.web.uploads.view import UploadView
from twisted_index.web.views.audit_log import AuditLogView
from twisted_index.web.views.changes import ChangesViews
from twisted_index.web.views.drafts import DraftViews
from twisted_index.web.views.feed import FeedView
from twisted_index.web.views.front import FrontViews
from twisted_index.web.views.indexes import IndexesViews
from twisted_index.web.views.legacy_json import LegacyJsonViews
from twisted_index.web.views.manage import ManageViews
from twisted_index.web.views.operations import OperationsViews
from twisted_index.web.views.project import ProjectViews
from twisted_index.web.views.promote import PromoteView
from twisted_index.web.views.search import SearchViews
from twisted_index.web.views.simple_api import SimpleApiViews
from twisted_index.web.views.statistics import StatisticsViews
from twisted_index.web.views.tokens import TokenViews
from twisted_index.web.views.why import WhyView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from twisted_index.web.requests.context import RequestContext, View
    from twisted_index.web.responses.response import Response

    #: A method of one of the view classes, not bound yet.
    EndpointView: TypeAlias = Callable[[Any, RequestContext], Awaitable[Response]]
    #: The right that a method needs, and its view.
    Methods: TypeAlias = Mapping[bytes, tuple[Action, EndpointView]]


class Subject(enum.Enum):
    """What a right is checked against before the view runs."""

    #: No right is needed.
    NOTHING = enum.auto()
    #: The project that the URL names.
    PROJECT = enum.auto()
    #: Each project of a list: the view leaves out those that the client may not read.
    PROJECTS = enum.auto()
    #: The index as a whole, for what its operators see. Open where everyone may read everything and there are
    #: no users.
    PAGES = enum.auto()
    #: The same of the server as a whole: the right at the index without a name counts in every scope.
    SERVER = enum.auto()
    #: The index as a whole, also where everyone may read everything: no visitor has its rights by default.
    INDEX = enum.auto()
    #: What the client may see of the server: the view leaves out the rest.
    CLIENT = enum.auto()
    #: The client itself: a user who has logged in, and no token. The view checks what else is needed.
    USER = enum.auto()
    #: The project that the body names: the view checks the right after reading that.
    BODY = enum.auto()
    #: An upload, which `uploads/receiver.py` checks while its body arrives, often before this view runs.
    UPLOAD = enum.auto()


class EndpointRule(NamedTuple):
    """
    One endpoint.

    Attributes:
        urls: Its URLs below the mount point, without aliases that only old clients use.
        subject: What the right is checked against.
        methods: The right and the view of each method. HEAD follows GET; OPTIONS is answered everywhere.
    """

    urls: tuple[str, ...]
    subject: Subject
    methods: Methods

    @property
    def allowed(self) -> tuple[bytes, ...]:
        """The methods as the Allow field lists them (RFC 9110 section 10.2.1)."""
        if b"GET" not in self.methods:
            return (*self.methods, b"OPTIONS")
        return (b"GET", b"HEAD", b"OPTIONS", *(method for method in self.methods if method != b"GET"))


def _get(view: EndpointView, action: Action = Action.READ) -> Methods:
    return {b"GET": (action, view)}


def _post(view: EndpointView, action: Action) -> Methods:
    return {b"POST": (action, view)}


_FILE = {**_get(SimpleApiViews.file), b"DELETE": (Action.DELETE, ManageViews.delete)}
_FILES = ("/simple/NAME/FILE", "/simple/NAME/FILE.metadata", "/NAME/FILE")
_PYPISTATS = tuple(f"/-/stats/api/packages/NAME/{table}" for table in TABLES)
_REDIRECTS = (
    "/simple",
    "/simple/NAME",
    "/project/NAME",
    "/pypi/NAME",
    "/-",
    "/-/health/",
    "/-/tree/",
    "/-/why/",
)

#: Every endpoint. A POST to an upload path is for UPLOAD, whatever GET finds there (`routes.is_upload_path`).
ENDPOINTS: Mapping[Endpoint, EndpointRule] = {
    # The simple API, and what leads there.
    Endpoint.FRONT: EndpointRule(("/",), Subject.PROJECTS, _get(FrontViews.front)),
    Endpoint.PROJECT_LIST: EndpointRule(("/simple/",), Subject.PROJECTS, _get(SimpleApiViews.project_list)),
    Endpoint.PROJECT_PAGE: EndpointRule(
        ("/simple/NAME/", "/NAME/"), Subject.PROJECT, _get(SimpleApiViews.project_page)
    ),
    Endpoint.PROJECT: EndpointRule(("/project/NAME/",), Subject.PROJECT, _get(ProjectViews.show)),
    Endpoint.RELEASE: EndpointRule(("/project/NAME/VERSION/",), Subject.PROJECT, _get(ProjectViews.show)),
    Endpoint.BARE_PROJECT: EndpointRule(("/NAME",), Subject.PROJECT, _get(SimpleApiViews.bare_project)),
    Endpoint.FILE: EndpointRule(_FILES, Subject.PROJECT, _FILE),
    Endpoint.ALL_FILES: EndpointRule(("/packages/",), Subject.PROJECTS, _get(SimpleApiViews.all_files)),
    Endpoint.FIND_FILE: EndpointRule(("/packages/FILE",), Subject.PROJECT, _get(SimpleApiViews.find_file)),
    Endpoint.FEED: EndpointRule(("/-/feed.atom",), Subject.PROJECTS, _get(FeedView.feed)),
    Endpoint.PIP_CONF: EndpointRule(("/pip.conf",), Subject.NOTHING, _get(FrontViews.pip_conf)),
    Endpoint.UV_TOML: EndpointRule(("/uv.toml",), Subject.NOTHING, _get(FrontViews.uv_toml)),
    # The indexes of the server. The second is the front page of one, for these methods.
    Endpoint.INDEXES: EndpointRule(("/+/",), Subject.CLIENT, _get(IndexesViews.listing)),
    Endpoint.INDEX: EndpointRule(
        ("/+NAME/",),
        Subject.INDEX,
        {b"PUT": (Action.MANAGE, IndexesViews.create), b"DELETE": (Action.MANAGE, IndexesViews.remove)},
    ),
    # Pages for people.
    Endpoint.SEARCH: EndpointRule(("/-/search",), Subject.PROJECTS, _get(SearchViews.search)),
    # The legacy JSON API.
    Endpoint.LEGACY_PROJECT: EndpointRule(
        ("/pypi/NAME/json",), Subject.PROJECT, _get(LegacyJsonViews.document)
    ),
    Endpoint.LEGACY_RELEASE: EndpointRule(
        ("/pypi/NAME/VERSION/json",), Subject.PROJECT, _get(LegacyJsonViews.document)
    ),
    # Changes.
    Endpoint.UPLOAD: EndpointRule(
        ("/legacy/", "/legacy"), Subject.UPLOAD, _post(UploadView.answer, Action.UPLOAD)
    ),
    Endpoint.YANK: EndpointRule(("/-/yank",), Subject.BODY, _post(ManageViews.yank, Action.YANK)),
    Endpoint.PROJECT_STATUS: EndpointRule(
        ("/-/status",), Subject.BODY, _post(ManageViews.set_status, Action.YANK)
    ),
    # Releases are read here; the view checks the right to promote them, at the index that they go to.
    Endpoint.PROMOTE: EndpointRule(("/-/promote",), Subject.BODY, _post(PromoteView.promote, Action.READ)),
    # Operations.
    Endpoint.HEALTH: EndpointRule(("/-/health",), Subject.NOTHING, _get(OperationsViews.health)),
    Endpoint.PROBLEMS: EndpointRule(
        ("/-/problems",), Subject.PAGES, _get(OperationsViews.problems, Action.OPERATE)
    ),
    Endpoint.AUDIT_LOG: EndpointRule(("/-/history",), Subject.PAGES, _get(AuditLogView.show, Action.OPERATE)),
    Endpoint.METRICS: EndpointRule(
        ("/-/metrics",), Subject.SERVER, _get(OperationsViews.metrics, Action.OPERATE)
    ),
    Endpoint.WANTED: EndpointRule(
        ("/-/wanted",), Subject.SERVER, _get(OperationsViews.wanted, Action.OPERATE)
    ),
    Endpoint.STATISTICS: EndpointRule(("/-/stats",), Subject.PROJECTS, _get(StatisticsViews.show)),
    Endpoint.PYPISTATS: EndpointRule(_PYPISTATS, Subject.PROJECTS, _get(StatisticsViews.show_table)),
    Endpoint.OPERATIONS: EndpointRule(("/-/",), Subject.CLIENT, _get(OperationsViews.operations)),
    Endpoint.WHY: EndpointRule(("/-/why/NAME", "/-/why/NAME==VERSION"), Subject.PROJECT, _get(WhyView.show)),
    # For mirrors and replicas.
    Endpoint.CHANGES: EndpointRule(("/-/changes",), Subject.INDEX, _get(ChangesViews.changes, Action.FOLLOW)),
    Endpoint.TREE: EndpointRule(("/-/tree/NAME",), Subject.INDEX, _get(ChangesViews.tree, Action.FOLLOW)),
    Endpoint.ENTRIES: EndpointRule(
        ("/-/entries/NAME",), Subject.INDEX, _get(ChangesViews.entries, Action.FOLLOW)
    ),
    Endpoint.ENTRY_BATCH: EndpointRule(
        ("/-/entries/",), Subject.INDEX, _get(ChangesViews.entry_batch, Action.FOLLOW)
    ),
    Endpoint.REPLICATION: EndpointRule(
        ("/-/replication",),
        Subject.CLIENT,
        {**_get(ChangesViews.state), **_post(ChangesViews.hand_over, Action.MANAGE)},
    ),
    # Tokens that users make for themselves: no wider than their makers.
    Endpoint.TOKENS: EndpointRule(
        ("/-/tokens",),
        Subject.USER,
        {**_get(TokenViews.listing), **_post(TokenViews.create, Action.READ)},
    ),
    Endpoint.TOKEN: EndpointRule(
        ("/-/tokens/NAME",), Subject.USER, {b"DELETE": (Action.READ, TokenViews.revoke)}
    ),
    # Drafts: those who may upload make them, and see their own.
    Endpoint.DRAFTS: EndpointRule(
        ("/-/drafts",),
        Subject.INDEX,
        {**_get(DraftViews.listing, Action.UPLOAD), **_post(DraftViews.create, Action.UPLOAD)},
    ),
    Endpoint.DRAFT: EndpointRule(
        ("/-/drafts/NAME",), Subject.INDEX, {b"DELETE": (Action.UPLOAD, DraftViews.cancel)}
    ),
    Endpoint.DRAFT_PUBLISH: EndpointRule(
        ("/-/drafts/NAME/publish",), Subject.INDEX, _post(DraftViews.publish, Action.PROMOTE)
    ),
    # What the URL alone decides.
    Endpoint.REDIRECT: EndpointRule(_REDIRECTS, Subject.NOTHING, _get(SimpleApiViews.redirect)),
    Endpoint.NO_ROUTE: EndpointRule(
        ("/-/nothing", "/project"), Subject.NOTHING, _get(SimpleApiViews.nothing)
    ),
}


def bind_views(*instances: object) -> dict[EndpointView, View]:
    """Bind each view of the table to its instance."""
    return {
        view: partial(view, instance)
        for rule in ENDPOINTS.values()
        for _action, view in rule.methods.values()
        for instance in instances
        if getattr(type(instance), view.__name__, None) is view
    }
