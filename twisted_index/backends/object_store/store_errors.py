"""What clients and operators read when an object store fails: one sentence, and what to do."""

from __future__ import annotations

import re

from twisted_index.errors import Unavailable

#: The only trace of an http:// URL that is not allowed.
_SCHEME = re.compile("BadScheme")
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
        r"InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|InvalidAccessKey",
        "The object store refuses the credentials of this server: mend AWS_ACCESS_KEY_ID and"
        " AWS_SECRET_ACCESS_KEY, or AZURE_*.",
    ),
    (
        r"AccessDenied|PermissionDenied|403 Forbidden|lack[s]? (?:the )?(?:necessary )?privileges",
        "The object store forbids this to the credentials of this server: grant them the bucket.",
    ),
    (
        r"Unauthenticated|401 Unauthorized|instance metadata|169\.254|Error getting credentials",
        "This server has no credentials that the object store takes: set AWS_ACCESS_KEY_ID and"
        " AWS_SECRET_ACCESS_KEY, or AZURE_*.",
    ),
    (r"BadScheme", "The object store is at an http:// URL: set AWS_ALLOW_HTTP=true to allow that."),
    (r"SlowDown|503 Service|TooManyRequests|429", "The object store is overloaded. Retry in a moment."),
    (r"[Cc]ertificate|UnknownIssuer", "The certificate of the object store is not trusted by this server."),
    (
        r"[Tt]imed ?[Oo]ut|deadline has elapsed",
        "The object store does not answer in time. Retry in a moment.",
    ),
    (
        r"invalid path|InvalidPath|illegal character|empty path segment",
        "The bucket has an object whose key no folder could have, so that it cannot be listed:"
        " rename or remove it; the server's log names it.",
    ),
)


def unavailable(error: BaseException, url: str) -> Unavailable:
    """
    Make the error of a store's failure; the operator's log has the rest.

    Args:
        error: From the library.
        url: Of the bucket, for people.
    """
    # What follows are the settings of the library, which name time-outs too.
    said = f"{type(error).__name__} {error}".split("Debug source:", 1)[0] + "".join(
        _SCHEME.findall(str(error))
    )
    for pattern, sentence in _MEANINGS:
        if re.search(pattern, said):
            return Unavailable(sentence.format(url=url))
    return Unavailable("The object store cannot be reached, or does not answer as one.")
