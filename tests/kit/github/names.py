"""What GitHub makes of the name of an uploaded file."""

from __future__ import annotations

import re
import unicodedata

#: Letters that Unicode does not take apart.
SPELLINGS = str.maketrans({"ł": "l", "Ł": "L", "ð": "d", "æ": "ae", "ŋ": "ng", "ø": "o", "ß": "ss"})


def mangled(name: str) -> str:
    """
    Spell an asset's name as GitHub does.

    The documentation says only that special characters, and periods at the ends, are renamed. What is
    known of it was seen by others: letters lose their accents (travis-ci/dpl#821); a run of anything but
    ASCII letters, digits, `-`, `_`, `+` and `@` becomes one period (actions/upload-release-asset#57,
    msys2/msys2-autobuild#15, cli/cli#10585, electron/forge#1761); periods at the ends go; a name of which
    only an ending is left begins with "default" (softprops/action-gh-release#393). A `+` survives; what
    loses it are clients that do not encode it in the query, where it means a blank
    (microsoft/azure-pipelines-tasks#14275, github/rest-api-description#2968, tarides/dune-release#142).
    """
    plain = unicodedata.normalize("NFKD", name.translate(SPELLINGS))
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    if plain.startswith("."):
        plain = f"default{plain}"
    changed = re.sub(r"[^A-Za-z0-9_+@-]+", ".", plain).strip(".")
    return changed if changed == name or "." in changed else f"default.{changed}"
