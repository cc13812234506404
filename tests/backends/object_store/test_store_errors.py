"""What users read when a store fails."""

import pytest

from twisted_index.backends.object_store.store_errors import unavailable


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ("404 Not Found: <Code>NoSuchBucket</Code>", "There is no bucket s3://b/p"),
        ("403 Forbidden: <Code>SignatureDoesNotMatch</Code>", "refuses the credentials"),
        ("403 Forbidden: <Code>AccessDenied</Code>", "forbids this"),
        ("403 Forbidden: <Code>RequestTimeTooSkewed</Code>", "set its clock"),
        ("503: <Code>SlowDown</Code>", "overloaded"),
        ("operation timed out", "in time"),
        ("builder error\n\nDebug source:\nBadScheme", "AWS_ALLOW_HTTP=true"),
        ("error sending request\n\nDebug source:\nretry_timeout: 15s, kind: Connect,", "cannot be reached"),
        ("error sending request\n\nDebug source:\nkind: Connect, dns error", "not known to this machine"),
        ("error sending request\n\nDebug source:\nkind: Timeout", "in time"),
        ("500 Internal Server Error", "error of its own"),
        ("Error performing GET http://h/b/429-503-certificate/x in 429.1ms", "does not answer as one"),
        ("403 for path 'certificate': Error performing PUT", "does not answer as one"),
        ("invalid peer certificate: UnknownIssuer", "certificate"),
    ],
)
def test_each_kind_of_failure_has_its_sentence(said: str, part: str):
    error = unavailable(RuntimeError(f"{said} https://key:secret@host/?X-Amz-Signature=5ec2e7"), "s3://b/p")
    assert part in error.message
    assert "5ec2e7" not in error.message
