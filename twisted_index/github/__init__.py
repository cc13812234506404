"""The releases API of GitHub, which Forgejo speaks too: releases, their assets, the token for it."""
