"""A local server of GitHub's releases API (https://docs.github.com/rest/releases), and of Forgejo's."""
