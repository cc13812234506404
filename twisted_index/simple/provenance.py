"""Which file a provenance document speaks of (PEP 740). Pure; it verifies no signature."""

from __future__ import annotations

import base64
import json
from typing import Any


def attested_digests(document: bytes, filename: str) -> frozenset[str] | None:
    """
    Return the digests that a provenance document states for a file.

    Args:
        document: The provenance object: bundles of attestations, each with a statement in base64.
        filename: The name of the file.

    Returns:
        Lower-case hex digests (sha256), one if all attestations agree; None if the document is no
        provenance object, or speaks of another file only.
    """
    try:
        subjects = [
            subject
            for bundle in json.loads(document)["attestation_bundles"]
            for attestation in bundle["attestations"]
            for subject in _subjects(attestation)
        ]
        found = frozenset(
            str(subject["digest"]["sha256"]).lower() for subject in subjects if subject["name"] == filename
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found or None


def _subjects(attestation: Any) -> list[Any]:
    statement = json.loads(base64.b64decode(attestation["envelope"]["statement"]))
    subjects: list[Any] = statement["subject"]
    return subjects
