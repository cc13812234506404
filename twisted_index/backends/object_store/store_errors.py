"""What clients and operators read when an object store fails: one sentence, and what to do."""

from __future__ import annotations

import re

from twisted_index.backends.object_store.bucket import Unlistable
from twisted_index.backends.object_store.patience import Silent
from twisted_index.errors import Unavailable
from twisted_index.simple.formatting import printable


class AccessDenied(Unavailable):
    """The store takes the credentials, and forbids what they were used for."""


class Unsupported(Unavailable):
    """The store knows no requests of this kind, such as writes under a condition."""


class WantsQuotes(Unavailable):
    """The store takes ETags in quotes only."""


#: Some kinds of failures have a trace only in what follows the library's text, beside all of its settings.
_TRACES = re.compile(
    r"BadScheme|TimedOut|kind: Timeout|InvalidCertificate|UnknownIssuer|InvalidContentType|dns error"
    r"|kind: Connect\b"
)
_UNLISTABLE = (
    "The bucket has an object whose key no folder could have, so that what lies beside it cannot be listed:"
    " rename or remove it; the server's log names it."
)
_SILENT = "The object store does not answer in time. Retry in a moment."
_UNSUPPORTED = "The object store does not know this kind of request."
_WANTS_QUOTES = "The object store takes ETags in quotes only."
_FORBIDDEN = "The object store forbids this to the credentials of this server: grant them the bucket."
#: By what the store or the library says. The first that is found counts.
_MEANINGS = (
    (
        r"NoSuchBucket|specified bucket does not exist|ContainerNotFound",
        "There is no bucket {url}: create it, or mend the setting path.",
    ),
    (
        r"RequestTimeTooSkewed|difference between the request time",
        "The object store refuses the time of this server: set its clock.",
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|InvalidAccessKey|InvalidToken",
        "The object store refuses the credentials of this server: mend {keys}.",
    ),
    (
        r"InvalidObjectState|BlobArchived",
        "An object of {url} is archived, and cannot be read: restore it, or move it out of the bucket.",
    ),
    (r"QuotaExceeded|QuotaFull", "The quota of {url} is used up: raise it, or remove something."),
    (
        r"Content-MD5",
        "The bucket {url} wants checksums of what is written: set AWS_CHECKSUM_ALGORITHM=sha256.",
    ),
    (r"surrounded by double quotes", _WANTS_QUOTES),
    (
        r"AccessDenied|PermissionDenied|403 Forbidden|lack[s]? (?:the )?(?:necessary )?privileges",
        _FORBIDDEN,
    ),
    (
        r"Unauthenticated|401 Unauthorized|Missing \w*Key|instance metadata|169\.254|getting credentials",
        "This server has no credentials that the object store takes: set {keys}.",
    ),
    (r"BadScheme", "The object store is at an http:// URL: set {http}=true to allow that."),
    (
        r"PermanentRedirect|TemporaryRedirect|AuthorizationHeaderMalformed|configured region|BareRedirect",
        "The bucket {url} is in another region, or at another address: mend AWS_REGION or {endpoint}.",
    ),
    (
        r"SlowDown|503 Service|ServerBusy|TooManyRequests|429 Too",
        "The object store is overloaded. Retry in a moment.",
    ),
    (r"NotImplemented|501 Not|NotSupported", _UNSUPPORTED),
    (
        r"AlreadyExists|Precondition|OperationAborted|409 Conflict|DueToPolicy",
        "The object store refuses this now: another change, or a policy of the bucket, is in its way.",
    ),
    (
        r"InternalError|\b5\d\d [A-Z]",
        "The object store has failed with an error of its own. Retry in a moment.",
    ),
    (
        r"[Cc]ertificate|CERTIFICATE|UnknownIssuer",
        "The certificate of the object store is not trusted by this server: name its authority in"
        " SSL_CERT_FILE.",
    ),
    (
        r"InvalidContentType|WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE",
        "What answers at the address of the object store speaks no TLS: check {endpoint}.",
    ),
    (r"[Tt]imed ?[Oo]ut|deadline has elapsed|kind: Timeout", _SILENT),
    (
        r"dns error|gaierror|lookup address",
        "The address of the object store is not known to this machine: check {endpoint}.",
    ),
    (
        r"kind: Connect\b|Connection\w*Error|Connection (?:refused|reset)|RemoteDisconnected|broken pipe",
        "The object store cannot be reached: check that it runs, and {endpoint}.",
    ),
    (r"InvalidPath|illegal character|empty path segment", _UNLISTABLE),
)
_KINDS = {
    _UNLISTABLE: Unlistable,
    _SILENT: Silent,
    _FORBIDDEN: AccessDenied,
    _UNSUPPORTED: Unsupported,
    _WANTS_QUOTES: WantsQuotes,
}
_UNKNOWN = "What answers in the place of the object store does not answer as one: check {endpoint}."
_VARIABLES = {
    "s3": {
        "keys": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "endpoint": "AWS_ENDPOINT_URL",
        "http": "AWS_ALLOW_HTTP",
    },
    "az": {
        "keys": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        "endpoint": "AZURE_STORAGE_ENDPOINT",
        "http": "AZURE_ALLOW_HTTP",
    },
    "gs": {
        "keys": "GOOGLE_SERVICE_ACCOUNT",
        "endpoint": "GOOGLE_BASE_URL",
        "http": "GOOGLE_ALLOW_HTTP",
    },
}


def unavailable(error: BaseException, url: str) -> Unavailable:
    """
    Make the error of a store's failure; the operator's log has the rest.

    Args:
        error: From the library, or the system.
        url: Of the bucket, for people.
    """
    text, _settings, rest = str(error).partition("Debug source:")
    # Names of objects and hosts say nothing of what has failed.
    text = re.sub(r"https?://\S+|for path .*?: Error|Path \".*?\"", "", text, flags=re.DOTALL)
    said = " ".join([type(error).__name__, text, *_TRACES.findall(rest)])
    sentence = next((sentence for pattern, sentence in _MEANINGS if re.search(pattern, said)), _UNKNOWN)
    kind = _KINDS.get(sentence, Unavailable)
    return kind(sentence.format(url=url, **_VARIABLES[url.partition(":")[0]]))


def variables_of(scheme: str) -> str:
    """Return the names of the variables that hold the credentials of a store, for people."""
    return _VARIABLES[scheme]["keys"]


def cause_of(error: BaseException) -> str:
    """Return what the log may have of a failure: no query, and only the code and message of the store."""
    text = str(error).partition("Debug source:")[0] or type(error).__name__
    text = re.sub(r"<(?!/?(?:Code|Message)>)[^>]*>[^<]*", " ", re.sub(r"\?[^\s\"<]*", "", text))
    return printable(" ".join(text.split())[:500])
