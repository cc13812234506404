"""
Where a test of the documents differs from what a reader does, all in one place.

Names are those of documents; a command is named by its beginning. What is in {braces} is known when the test
runs: `{port}` and `{tls}` are ports, `{root}` stands for `/`, `{made}` is a folder of small distributions,
`{upstream}` is an index of them at another port, `{forge}:acme/tools` and `{forge}:acme/private` are
repositories, the latter with `{token}`.
"""

from __future__ import annotations

#: In all documents: what a reader replaces, and what keeps a test on this machine and in its folder.
EVERYWHERE = {
    "HOST:8080": "127.0.0.1:{port}",
    "8080": "{port}",
    "https://HOST/": "http://127.0.0.1:{port}/",
    "8443:certificate": "{tls}:interface=127.0.0.1:certificate",
    "curl -u alice ": "curl --fail -u alice:secret ",  # asks for the password, and ends well after a 403
    " python -m pytest": " python -m pytest --collect-only -q tests/simple",  # this test is one of them
    # A password is typed twice, at a terminal.
    "openssl passwd -6": "openssl passwd -6 -stdin <<< secret",
}

#: In one document.
INSTEAD = {
    # The README's installation is complete; this one is resolved, which takes a tenth of the time.
    "docs/contributing.md": {"pip install -e": "pip install --dry-run -e"},
    "README.md": {" NAME": " demo"},
    "docs/moving.md": {
        "pypi-server run -p 8080": "pypi-server run -i 127.0.0.1 -p {port}",
        "-p 8080": "--listen tcp:{port}:interface=127.0.0.1",
        " URL": " {upstream}",
    },
    "docs/publishing.md": {"@FILE": "@dist/acme-1.0.tar.gz"},
    "docs/replication.md": {"-p 8081": "--listen tcp:{tls}:interface=127.0.0.1", "8081": "{tls}"},
    "docs/export.md": {" github:acme/": " {forge}:acme/"},
    "docs/github.md": {
        " github:acme/": " {forge}:acme/",
        "read -rs GITHUB_TOKEN": "read -r GITHUB_TOKEN <<<{token}",  # at a terminal, without showing it
    },
}

#: How pip introduces itself on other machines.
_LINUX = (
    'pip/26.3 {"cpu":"x86_64","distro":{"libc":{"lib":"glibc","version":"2.36"}},'
    '"implementation":{"name":"CPython"},"python":"3.11.7","system":{"name":"Linux"}}'
)
_MACOS = (
    'pip/26.3 {"cpu":"arm64","distro":{"name":"macOS","version":"14.5"},'
    '"implementation":{"name":"CPython"},"python":"3.13.1","system":{"name":"Darwin"}}'
)
_SERVICE = (
    "'path = \"{root}/srv/packages\"' 'state = \"{root}/var/lib/twisted-index\"' 'upstream = \"pip\"'"
    " 'access-log = \"{root}/var/log/twisted-index/access.log\"'"
)

#: What the prose around a command says, or takes for granted: typed before it.
BEFORE: dict[str, dict[str, str | tuple[str, ...]]] = {
    "README.md": {
        "pip install --index-url": "cp {made}/demo-1.0-py3-none-any.whl packages/",
    },
    "docs/classroom.md": {
        # One depends on another for Windows only, one is compiled.
        "printf": "printf 'portable\\nmarkupsafe\\n' >requirements.txt",
        # All platforms have what they need, and none has more.
        "twistd -n simpleindex": "find packages -name '*.whl' -printf '%f\\n' | sort | xargs | grep -x '"
        "flit_core-1.0-py3-none-any.whl for_windows-1.0-py3-none-any.whl hatchling-1.0-py3-none-any.whl "
        "markupsafe-1.0-cp313-cp313-macosx_11_0_arm64.whl "
        "markupsafe-1.0-cp313-cp313-manylinux_2_17_x86_64.whl "
        "markupsafe-1.0-cp313-cp313-win_amd64.whl pip-1.0-py3-none-any.whl portable-1.0-py3-none-any.whl "
        "setuptools-1.0-py3-none-any.whl wheel-1.0-py3-none-any.whl'",
        "curl http://HOST:8080/-/wanted": (
            "rm packages/markupsafe/markupsafe-*macosx* packages/markupsafe/markupsafe-*linux*",
            f"curl --user-agent '{_LINUX}' http://127.0.0.1:{{port}}/simple/markupsafe/",
            f"curl --user-agent '{_MACOS}' http://127.0.0.1:{{port}}/simple/hatch-vcs/",
        ),
    },
    "docs/download.md": {
        # Not what it shows: an older version is not there.
        "twisted-index download --path packages --dry-run": "echo 'markupsafe<3' >constraints.txt",
    },
    "docs/mirror.md": {
        "twisted-index mirror mirror.toml --dry-run": "sed -n '/^# mirror.toml/,/^```$/p' docs/mirror.md"
        " | grep -v '^```$' >mirror.toml",
        "twisted-index mirror mirror.toml --why": "ls packages | tr '\\n' ' ' | grep -x 'attrs demo '",
    },
    "docs/moving.md": {
        "pypi-server run": "mkdir packages dist && cp {made}/acme-* packages/ && cp {made}/demo-1.0* dist/"
        " && printf 'alice:%s\\n' \"$(openssl passwd -apr1 secret)\" >users.htpasswd",
        "find packages": "mkdir -p packages/team/deep && mv packages/acme-* packages/team/deep/",
        "mkdir packages": "rm -r packages && mkdir -p export/team/prod/acme/1.0"
        " && cp {made}/acme-* export/team/prod/acme/1.0/ && touch export/team/prod/acme-1.0.doc.zip",
        "wget": "rm -r packages",
    },
    "docs/operating.md": {
        # With the file that the document shows.
        "/opt/twisted-index/bin/twisted-index token": "cp {made}/acme-* {root}/srv/packages/"
        " && sed -n '/^# .etc.twisted-index.toml$/,/^```$/p' docs/operating.md | grep -v '^```$'"
        " | sed 's,= \"/,= \"{root}/,;s,:/etc,:{root}/etc,' >{root}/etc/twisted-index.toml",
        "twisted-index serve packages --listen https:": "mkdir -p packages",
        "twisted-index check --path packages": "mkdir -p packages"
        " && cp {made}/acme-1.0* {made}/demo-1.0* packages/",
    },
    "docs/export.md": {
        "twisted-index export site --path packages": "mkdir packages"
        " && cp {made}/acme-* {made}/demo-1.0-* packages/",
        "twisted-index export site --path dist": "cp -r packages dist",
    },
    "docs/github.md": {
        "twisted-index release": "mkdir dist && cp {made}/acme-1.0* dist/",
    },
    "docs/indexes.md": {
        "pip install --index-url": "cp {made}/acme-1.0-py3-none-any.whl indexes/staging/",
        # With the files that the document shows.
        "twisted-index serve --config": (
            "sed -n '/^# index.toml/,/^```$/p' docs/indexes.md | grep -v '^```$' >index.toml",
            "sed -n '/^# rights.toml/,/^```$/p' docs/indexes.md | grep -v '^```$' >rights.toml",
            "printf 'alice:%s\\n' \"$(openssl passwd -apr1 secret)\" >users.htpasswd",
        ),
        "twine upload": "mkdir dist && cp {made}/demo-1.0* dist/",
        "curl -u alice -X PUT": (
            "printf 'alice:%s\\n' \"$(openssl passwd -apr1 secret)\" >users.htpasswd",
            "TWISTED_INDEX_CREATE_INDEXES='pr-*' twisted-index serve packages --indexes indexes --upload"
            " --auth htpasswd:users.htpasswd",
        ),
    },
    "docs/publishing.md": {
        "printf": "mkdir packages",
        "twine upload": (
            "mkdir dist && cp {made}/acme-* dist/",
            "twisted-index serve packages --upload --anonymous-upload",
        ),
        "twisted-index token create": "twisted-index serve packages --upload --auth htpasswd:users.htpasswd",
        "TWINE_USERNAME": "twisted-index token create upload --upload 'acme*' --expires 90d",
        "uv publish --trusted": "export UV_PUBLISH_USERNAME=alice UV_PUBLISH_PASSWORD=secret",
        # With the file that the document shows.
        "twistd -n simpleindex --path ./packages --upload --auth htpasswd:users.htpasswd --rights": (
            "sed -n '/visitors are asked/,/^```$/p' docs/publishing.md | grep -v '^```$' >rights.toml"
        ),
        "twisted-index prune --path packages --keep 5 torch": "cp {made}/torch-* packages/",
    },
    "docs/replication.md": {
        "twine upload": "mkdir dist && cp {made}/acme-* dist/",
    },
    "docs/upstream.md": {
        "twistd -n simpleindex": "mkdir packages",
        "twisted-index prefetch --index-url": "printf 'mujoco\\ndemo\\n' >requirements.txt",
        "twisted-index prefetch --config": "echo 'upstream = \"pip\"' >index.toml",
        # The service, from which both releases were fetched, before one of them is denied.
        "twisted-index refresh --config": (
            f"printf '%s\\n' {_SERVICE} >{{root}}/etc/twisted-index.toml",
            "twisted-index serve --config {root}/etc/twisted-index.toml",
            "for version in 1.0 1.1; do curl --fail --remote-name"
            " http://127.0.0.1:{port}/simple/demo/demo-$version-py3-none-any.whl || exit; done",
            "grep -A2 '^..upstream-deny' docs/upstream.md | tail -n 3 >>{root}/etc/twisted-index.toml",
            "while curl http://127.0.0.1:{port}/simple/demo/ | grep demo-1.1; do sleep 0.1; done",
            "! curl --fail http://127.0.0.1:{port}/simple/demo/demo-1.1-py3-none-any.whl",
        ),
    },
}

#: What clients of pypiserver do, with its URLs.
_CLIENTS = (
    "pip download --no-deps --index-url http://127.0.0.1:{port}/simple/ -d got acme"
    " && curl --fail --location --output got/locked http://127.0.0.1:{port}/packages/acme-1.0.tar.gz"
    " && twine upload -u alice -p secret --repository-url http://127.0.0.1:{port}/ dist/*"
)
_LISTED = "curl --fail http://127.0.0.1:{port}/simple/acme/ | grep acme-1.0.tar.gz"

#: What has to work once a command was typed.
AFTER = {
    "docs/export.md": {
        "twisted-index export site --source": "grep '/acme/tools/releases/download/v1.0/acme_tools-1.0'"
        " site/simple/acme-tools/index.v1.json",
    },
    "docs/github.md": {
        "TWISTED_INDEX_UPSTREAM_ONLY='acme-*' twisted-index serve packages --upstream github:acme/private": (
            "pip download --no-deps --index-url http://127.0.0.1:{port}/simple/ acme-secrets"
        ),
    },
    "docs/publishing.md": {
        "twistd -n simpleindex --path ./packages --upload --auth htpasswd:users.htpasswd --rights": (
            "! curl --fail http://127.0.0.1:{port}/simple/"
            " && curl --fail -u alice:secret http://127.0.0.1:{port}/-/history"
        ),
    },
    "docs/upstream.md": {
        "zgrep": "sed -i '/upstream-deny/,$d' {root}/etc/twisted-index.toml &&"
        " until curl http://127.0.0.1:{port}/simple/demo/ | grep demo-1.1; do sleep 0.1; done",
    },
    "docs/moving.md": {
        "pypi-server run": _CLIENTS,
        "twistd -n simpleindex -p 8080": _CLIENTS,
        "find packages": _LISTED,
        "twistd -n simpleindex --upload": _LISTED,
        "twistd -n simpleindex packages": _LISTED,
    },
}

#: Servers that are started in another terminal, and run beside the one before.
BESIDE: dict[str, tuple[str, ...]] = {"docs/replication.md": ("twisted-index serve copy",)}

#: Programs that not every machine has: without them the command is skipped.
WHERE_INSTALLED = ("mkcert", "pypi-server", "rsync", "wget")

_MEASURES = "measures for minutes"
_USERS = "changes the users of the machine"
_PUBLIC = "needs a name of the internet"
_STEP = "needs a running step-ca"

#: What is not typed, and why.
NOT_TYPED = {
    "docs/classroom.md": {"pip install": "is installed, and this index has no uv"},
    "docs/download.md": {"pip install": "is installed, and this index has no uv"},
    "docs/mirror.md": {
        "systemctl ": "needs systemd as the first process; the units are tested by test_files.py"
    },
    "docs/contributing.md": {"python -m pytest": "was not installed by the command before it"},
    "docs/moving.md": {
        "devpi-export": "needs a devpi with packages; what it writes is laid out for the next command"
    },
    "docs/benchmarks.md": {"apt-get ": "changes the machine", "python -m tests.benchmarks": _MEASURES},
    "docs/operating.md": {
        "systemctl ": "needs systemd as the first process; the units are tested by test_files.py",
        "groupadd --system packages": _USERS,
        "groupadd --system index-tls": _USERS,
        "certbot ": _PUBLIC,
        "step ": _STEP,
        "twisted-index serve packages --listen https:8443:certificate=index.crt": _STEP,
        'cp "$(mkcert': "comes after mkcert",
        "cp ca.pem /usr/local": "changes what the machine trusts",
        "podman ": "needs images from the internet",
    },
}
