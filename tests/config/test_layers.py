"""Where settings come from, which layer wins, and how each mistake is told."""

from __future__ import annotations

import contextlib
import dataclasses
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.config.layers import default_state, load
from twisted_index.config.parsers import duration, size
from twisted_index.config.policy_entry import PolicyEntry
from twisted_index.config.settings import (
    AccessSettings,
    Limits,
    NamedUpstream,
    ReplicationSettings,
    RoutingRule,
    Settings,
    UploadSettings,
    UpstreamPolicy,
    UpstreamSettings,
)
from twisted_index.errors import ConfigurationError

EVERY_NAME = """
path = ["packages", "/srv/more"]
listen = ["tcp:9000", 9001]
indexes = "indexes"
create-indexes = ["pr-*"]
as-of = "2026-11-01"
rescan = "5m"
state = "state"
access-log = "access.log"
access-log-format = "json"
add-header = ["X-A: 1", "X-B:2"]
display-tracebacks = true
cors = true
page-cache = "1MB"
fast-path = false
statistics = false
public-url = "https://example.org/prefix/"
title = " Packages of Acme "
upload = true
anonymous-upload = true
max-upload = "1GB"
min-free = "2GB"
overwrite = ["*.dev*", "acme==1.*"]
keep-prereleases = 5
keep-deleted = "90d"
on-upload = "https://me:secret@example.org/hook?a=b"
auth = ["htpasswd:users", "memory:me:secret"]
rights = "rights.toml"
trusted-proxy = ["unix", "users:10.0.0.0/8", "::1"]
user-header = "X-authentik-username"
groups-header = "X-authentik-groups"
groups-separator = "|"
max-token-age = "90d"
upstream = ["https://me:secret@example.org/simple", "pip"]
cache = "cache"
cache-size = "1GiB"
cache-ttl = "5m"
upstream-page-timeout = 40
upstream-file-timeout = "5m"
offline = true
github-token-file = "token"
upstream-allow-address = "192.168.0.0/16"
upstream-rebuilds = "pip"
upstream-403-absent = ["https://example.org/simple/", "https://example.org/whl"]
local-only = ["Acme_*", "secret"]
upstream-only = "*"
upstream-deny = ["evil-*", "Django>=4,<5", "foo!=1"]
cooldown = "7d"
cooldown-except = ["certifi"]
no-sdists = true
merge-upstream = "torch"
peers = ["https://b.example.org", "https://c.example.org"]
peers-needed = 1

[upstreams.public]
url = ["https://example.org/public", "pip"]
cooldown = "7d"
upstream-deny = [{ match = "evil-*" }]

[[route]]
pattern = "acme-*"
folder = "acme"

[[route]]
pattern = "torch*"
upstream = "https://example.org/whl"

[[route]]
pattern = "flash-*"
upstream = "github:acme/tools"

[[route]]
pattern = "evil-*"

[limits]
header-timeout = "1s"
upload-stall-timeout = "7s"
idle-timeout = 2
stall-timeout = 3.5
response-timeout = "4s"
stop-timeout = "5s"
max-connections = 6
max-uri = 9000
max-header = 9001
threads = 2
"""


def read(given=None, env=None, folder="/here"):
    return load(given or {}, environ=env or {}, folder=folder)


@pytest.fixture
def file(tmp_path):
    """Write a configuration file and give its path."""

    def write(text: str | bytes) -> str:
        path = tmp_path / "index.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def refusal(given=None, env=None):
    """The one sentence that a mistake gets."""
    with pytest.raises(ConfigurationError) as caught:
        read(given, env)
    sentence = caught.value.message
    assert "\n" not in sentence
    assert sentence[-1] in ".?"
    return sentence


# Layers


def test_without_anything_the_current_folder_is_served_with_the_defaults():
    settings = read()

    assert settings == Settings(paths=("/here",), state=settings.state)


def test_the_file_has_a_name_for_everything(file, tmp_path):
    assert read({"config": file(EVERY_NAME)}) == Settings(
        paths=(f"{tmp_path}/packages", "/srv/more"),
        indexes=f"{tmp_path}/indexes",
        create_indexes=("pr-*",),
        as_of="2026-11-01",
        listen=("tcp:9000", "tcp:9001"),
        rescan=300.0,
        state=f"{tmp_path}/state",
        access_log=f"{tmp_path}/access.log",
        access_log_format="json",
        add_headers=((b"X-A", b"1"), (b"X-B", b"2")),
        display_tracebacks=True,
        cors=True,
        public_url="https://example.org/prefix",
        title="Packages of Acme",
        page_cache=1_000_000,
        fast_path=False,
        statistics=False,
        limits=Limits(
            header_timeout=1.0,
            upload_stall_timeout=7.0,
            idle_timeout=2.0,
            stall_timeout=3.5,
            response_timeout=4.0,
            stop_timeout=5.0,
            max_connections=6,
            max_uri=9000,
            max_header=9001,
            threads=2,
        ),
        uploads=UploadSettings(
            upload=True,
            anonymous_upload=True,
            max_upload=1_000_000_000,
            min_free=2_000_000_000,
            overwrite=("*.dev*", "acme==1.*"),
            keep_prereleases=5,
            keep_deleted=7_776_000.0,
            on_upload=("https://me:secret@example.org/hook?a=b",),
        ),
        access=AccessSettings(
            auth=(f"htpasswd:{tmp_path}/users", "memory:me:secret"),
            rights=f"{tmp_path}/rights.toml",
            trusted_proxies=("unix", "users:10.0.0.0/8", "::1"),
            user_header="X-authentik-username",
            groups_header="X-authentik-groups",
            groups_separator="|",
            max_token_age=90 * 86400.0,
        ),
        upstreams=UpstreamSettings(
            urls=("https://me:secret@example.org/simple", "pip"),
            cache=f"{tmp_path}/cache",
            cache_size=1 << 30,
            cache_ttl=300.0,
            page_timeout=40.0,
            file_timeout=300.0,
            offline=True,
            github_token_file=f"{tmp_path}/token",
            allow_addresses=("192.168.0.0/16",),
            rebuilds=("pip",),
            absent_on_403=("https://example.org/simple/", "https://example.org/whl"),
            policy=UpstreamPolicy(
                local_only=("Acme_*", "secret"),
                upstream_only=("*",),
                upstream_deny=(
                    PolicyEntry(match="evil-*"),
                    PolicyEntry(match="Django>=4,<5"),
                    PolicyEntry(match="foo!=1"),
                ),
                cooldown=604800.0,
                cooldown_except=(PolicyEntry(match="certifi"),),
                no_sdists=True,
                merge_upstream=("torch",),
            ),
            routes=(
                RoutingRule(pattern="acme-*", folder=f"{tmp_path}/acme"),
                RoutingRule(pattern="torch*", upstream="https://example.org/whl"),
                RoutingRule(pattern="flash-*", upstream="github:acme/tools"),
                RoutingRule(pattern="evil-*"),
            ),
            named=(
                NamedUpstream(
                    name="public",
                    urls=("https://example.org/public", "pip"),
                    policy=UpstreamPolicy(cooldown=604800.0, upstream_deny=(PolicyEntry(match="evil-*"),)),
                ),
            ),
        ),
        replication=ReplicationSettings(
            peers=("https://b.example.org", "https://c.example.org"), peers_needed=1
        ),
    )


def test_nothing_of_settings_is_left_out_of_the_test_above(file):
    found, defaults = read({"config": file(EVERY_NAME)}), Settings()

    pairs = [(found, defaults), (found.upstreams.policy, defaults.upstreams.policy)]
    pairs += [
        (getattr(found, part), getattr(defaults, part))
        for part in ("limits", "uploads", "access", "upstreams", "replication")
    ]
    for pair in pairs:
        for field in dataclasses.fields(pair[0]):
            # Other modes keep nothing, and forbid half of the above; a default index has no path, a bucket
            # no second one, and a replica no upstream.
            if field.name not in ("mode", "default_index", "objects", "replica_of"):
                assert getattr(pair[0], field.name) != getattr(pair[1], field.name), field.name


def test_the_access_log_may_be_standard_output():
    assert read({"access-log": "-"}).access_log == "-"


@pytest.mark.parametrize("mode", ["cache", "proxy", "redirect"])
def test_an_upstream_has_a_mode(mode):
    assert read({"upstream": "pip", "upstream-mode": mode}).upstreams.mode == mode


def test_an_option_wins_over_the_environment_and_that_over_the_file(file):
    env = {"TWISTED_INDEX_CONFIG": file("rescan = 1"), "TWISTED_INDEX_RESCAN": "2"}

    assert read({"rescan": "3"}, env).rescan == 3.0
    assert read({}, env).rescan == 2.0
    assert read({}, {**env, "TWISTED_INDEX_RESCAN": ""}).rescan == 1.0


def test_a_list_replaces_the_list_of_the_layer_below(file):
    config = file('path = ["/a", "/b"]')

    assert read({"config": config, "path": ["/c"]}).paths == ("/c",)
    assert read({"config": config, "path": []}).paths == ("/a", "/b")


def test_the_option_config_wins_over_its_variable(file):
    env = {"TWISTED_INDEX_CONFIG": "/nowhere.toml"}

    assert read({"config": file("rescan = 9")}, env).rescan == 9.0


def test_limits_of_a_program_are_added_to_those_of_the_file(file):
    limits = read({"config": file("[limits]\nthreads = 2"), "limits": {"max-uri": 9000}}).limits

    assert (limits.threads, limits.max_uri) == (2, 9000)


def test_a_mistake_is_told_even_where_it_is_overridden(file):
    assert "rescan" in refusal({"config": file("rescan = -1"), "rescan": "2"})


# Programs that call makeService with a mapping


def test_names_may_have_underscores_in_a_mapping():
    settings = read({"add_header": "X-A: 1", "display_tracebacks": True, "public_url": "http://a"})

    assert settings.add_headers == ((b"X-A", b"1"),)
    assert settings.display_tracebacks
    assert settings.public_url == "http://a"


def test_a_mapping_may_hold_values_of_python(tmp_path):
    settings = read({"path": tmp_path, "listen": 9000, "rescan": 0, "cors": 1, "limits": {"threads": 1}})

    assert settings.paths == (str(tmp_path),)
    assert settings.listen == ("tcp:9000",)
    assert settings.rescan == 0.0
    assert settings.cors is True


def test_none_is_not_given():
    env = {"TWISTED_INDEX_CORS": "yes"}

    assert read({"cors": None, "path": None}, env).cors is True
    assert read({"cors": False}, env).cors is False


# Paths


def test_relative_paths_hang_on_the_current_folder_but_in_a_file_on_its_own(file, tmp_path):
    config = file('path = "packages"')

    assert read({"path": ["a", "../b"]}).paths == ("/here/a", "/b")
    assert read({}, {"TWISTED_INDEX_PATH": "a"}).paths == ("/here/a",)
    assert read({"config": config}).paths == (f"{tmp_path}/packages",)


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")

    assert read({"path": ["~/packages"]}).paths == ("/home/me/packages",)


def test_a_folder_that_is_named_twice_is_read_once():
    assert read({"path": ["a", "/here/a", "b"]}).paths == ("/here/a", "/here/b")


def test_state_is_the_folder_of_systemd_else_the_user_s():
    assert default_state({"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}) == "/var/lib/one"
    assert os.path.basename(default_state({}) or "") == "twisted-index"


def test_a_user_without_a_home_has_no_state(monkeypatch):
    monkeypatch.setattr(
        "platformdirs.user_state_dir", lambda *_args, **_kwargs: "~/.local/state/twisted-index"
    )

    assert default_state({}) is None


def test_state_can_be_kept_in_memory():
    env = {"STATE_DIRECTORY": "/var/lib/one"}

    assert read({"state": "none"}, env).state is None
    assert read({"state": "./none"}, env).state == "/here/none"
    assert read({}, env).state == "/var/lib/one"


# The environment


def test_the_environment_separates_lists_as_fits_their_values():
    settings = read(
        {},
        {
            "TWISTED_INDEX_PATH": os.pathsep.join(["/a", "/b c"]),
            "TWISTED_INDEX_LISTEN": "8080 tcp6:9000:interface=::1\nunix:/run/x.sock",
            "TWISTED_INDEX_ADD_HEADER": "X-A: 1, 2\nX-B: 3",
        },
    )

    assert settings.paths == ("/a", "/b c")
    assert settings.listen == ("tcp:8080", "tcp6:9000:interface=::1", "unix:/run/x.sock")
    assert settings.add_headers == ((b"X-A", b"1, 2"), (b"X-B", b"3"))


@pytest.mark.parametrize(
    ("word", "value"),
    [("1", True), ("Yes", True), ("on", True), ("0", False), ("no", False), ("FALSE", False)],
)
def test_switches_in_the_environment_are_words(word, value):
    assert read({}, {"TWISTED_INDEX_CORS": word}).cors is value


def test_variables_that_kubernetes_sets_beside_a_service_are_no_settings():
    linked = {
        "TWISTED_INDEX_SERVICE_HOST": "10.0.0.1",
        "TWISTED_INDEX_SERVICE_PORT": "80",
        "TWISTED_INDEX_SERVICE_PORT_HTTP": "80",
        "TWISTED_INDEX_PORT": "tcp://10.0.0.1:80",
        "TWISTED_INDEX_PORT_80_TCP": "tcp://10.0.0.1:80",
        "TWISTED_INDEX_PORT_80_TCP_ADDR": "10.0.0.1",
    }

    assert read({}, linked) == read()


def test_the_environment_separates_urls_and_patterns_by_blanks_and_checkers_by_lines():
    settings = read(
        {},
        {
            "TWISTED_INDEX_UPLOAD": "1",
            "TWISTED_INDEX_UPSTREAM": "pip https://example.org/simple/",
            "TWISTED_INDEX_LOCAL_ONLY": "acme-* secret",
            "TWISTED_INDEX_UPSTREAM_DENY": "django >= 4, < 5\nevil",
            "TWISTED_INDEX_OVERWRITE": "*.dev* 0.*",
            "TWISTED_INDEX_TRUSTED_PROXY": "unix ::1",
            "TWISTED_INDEX_AUTH": "htpasswd:my users\nmemory:a:b c",
        },
    )

    assert settings.upstreams.urls == ("pip", "https://example.org/simple/")
    assert settings.upstreams.policy.local_only == ("acme-*", "secret")
    denied = [entry.match for entry in settings.upstreams.policy.upstream_deny]
    assert denied == ["django >= 4, < 5", "evil"]
    assert settings.uploads.overwrite == ("*.dev*", "0.*")
    assert settings.access.trusted_proxies == ("unix", "::1")
    assert settings.access.auth == ("htpasswd:/here/my users", "memory:a:b c")


def test_rules_are_set_in_the_file_only():
    assert refusal({}, {"TWISTED_INDEX_ROUTE": "1"}).startswith("TWISTED_INDEX_ROUTE is not a setting")


def test_limits_are_set_in_the_file_only():
    assert refusal({}, {"TWISTED_INDEX_LIMITS": "1"}).startswith("TWISTED_INDEX_LIMITS is not a setting")


# Unknown names


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rescn = 1", "rescn is not a setting; did you mean rescan?"),
        ("public_url = 'http://a'", "public_url is not a setting; did you mean public-url?"),
        ("port = 9000", "port is not a setting; did you mean listen?"),
        ("host = 'a'", "host is not a setting; did you mean listen?"),
        ("logfile = 'a'", "logfile is not a setting; did you mean access-log?"),
        ("passwords = 'a'", "passwords is not a setting; did you mean auth?"),
        ("fallback-url = 'a'", "fallback-url is not a setting; did you mean upstream?"),
        ("zzz = 1", "zzz is not a setting."),
        ("config = 'x'", "config is not a setting."),
        ("[limits]\nmax-url = 1", "limits: max-url is not a setting; did you mean max-uri?"),
        ("[limit]\nmax-uri = 1", "limit is not a setting; did you mean limits?"),
    ],
)
def test_an_unknown_key_is_an_error_that_suggests_the_right_one(file, text, sentence):
    path = file(text)

    assert refusal({"config": path}) == f"{path}: {sentence}"


def test_an_unknown_variable_is_an_error_that_suggests_the_right_one():
    assert refusal({}, {"TWISTED_INDEX_LISTN": "x"}) == (
        "TWISTED_INDEX_LISTN is not a setting; did you mean TWISTED_INDEX_LISTEN?"
    )


def test_a_variable_named_as_by_another_server_suggests_ours():
    assert refusal({}, {"TWISTED_INDEX_LOGFILE": "x"}) == (
        "TWISTED_INDEX_LOGFILE is not a setting; did you mean TWISTED_INDEX_ACCESS_LOG?"
    )


def test_the_word_of_another_server_means_nothing_in_a_table_without_its_setting(file):
    path = file("[limits]\nhost = 1")

    assert refusal({"config": path}) == f"{path}: limits: host is not a setting."


def test_an_unknown_name_in_a_mapping_is_an_error():
    assert refusal({"paths": "x"}) == "--paths is not a setting; did you mean path?"


# Wrong files


def test_a_file_that_is_not_toml_is_told_with_the_line(file):
    assert "line 2" in refusal({"config": file("rescan = 1\nlisten = tcp:80")})


def test_a_number_that_is_too_long_for_python_is_told(file):
    assert "this is not TOML" in refusal({"config": file(f"rescan = {'9' * 5000}")})


def test_a_key_that_cannot_be_printed_stays_in_its_line(file):
    assert "'a\\nb' is not a setting" in refusal({"config": file('"a\\nb" = 1')})


def test_a_file_that_is_not_utf_8_is_told(file):
    assert "UTF-8" in refusal({"config": file(b"state = '\xff'")})


def test_a_file_that_is_not_there_is_told(tmp_path):
    assert refusal({"config": f"{tmp_path}/x.toml"}).endswith("cannot be read: No such file or directory.")
    assert refusal({"config": str(tmp_path)}).endswith("cannot be read: Is a directory.")


# Wrong values


@pytest.mark.parametrize(
    ("name", "raw", "part"),
    [
        ("rescan", "soon", "not a duration"),
        ("rescan", "-1", "not a duration"),
        ("rescan", -1, "not a duration"),
        ("rescan", float("nan"), "not a duration"),
        ("rescan", float("inf"), "not a duration"),
        ("rescan", "nan", "not a duration"),
        ("rescan", "9" * 400, "not a duration"),
        ("rescan", 10**400, "not a duration"),
        ("rescan", True, "not a duration"),
        ("rescan", "٣", "not a duration"),
        ("path", 7, "not text"),
        ("path", "", "cannot be used"),
        ("path", "a\0b", "cannot be used"),
        ("path", ["a", 7], "not text"),
        ("listen", "99999", "ports go from 0 to 65535"),
        ("listen", "-1", "ports go from 0 to 65535"),
        ("listen", True, "not text"),
        ("listen", [""], "cannot be used"),
        ("state", 1, "not text"),
        ("access-log", False, "not text"),
        ("access-log-format", "JSON", "not a format"),
        ("cors", "perhaps", "neither true nor false"),
        ("cors", 2, "neither true nor false"),
        ("limits", 3, "[limits]"),
    ],
)
def test_a_wrong_value_is_told_with_its_name(name, raw, part):
    sentence = refusal({name: raw})

    assert sentence.startswith(f"--{name}: ")
    assert part in sentence


def test_a_wrong_value_is_told_with_the_layer_that_has_it(file):
    path = file('rescan = "x"')

    assert refusal({"config": path}).startswith(f"{path}: rescan: 'x' is not")
    assert refusal({}, {"TWISTED_INDEX_RESCAN": "x"}).startswith("TWISTED_INDEX_RESCAN: 'x' is not")


def test_an_empty_list_in_a_file_is_told(file):
    assert refusal({"config": file("path = []")}).endswith("path: the list is empty.")


@pytest.mark.parametrize(
    ("name", "raw", "part"),
    [
        ("upload", "perhaps", "neither true nor false"),
        ("max-upload", 0, "cannot be 0"),
        ("overwrite", "a b", "space"),
        ("auth", "htpasswd:", "is missing"),
        ("auth", "htpasswd", "is missing"),
        ("rights", 1, "not text"),
        ("trusted-proxy", "proxy.example.org", "neither an address nor a network"),
        ("trusted-proxy", "10.0.0.1/8", "write 10.0.0.0/8"),
        ("upstream-allow-address", "unix", "neither an address nor a network"),
        ("upstream", "https://example.org/simple/?a", "no query"),
        ("upstream-mode", "mirror", "write cache, proxy or redirect"),
        ("cache-size", "big", "not a size"),
        ("cooldown", "a week", "not a duration"),
        ("local-only", "acme/*", "not a pattern"),
        ("local-only", "acme-", "not a pattern"),
        ("local-only", "acme[", "not a pattern"),
        ("local-only", "acme-*,other", "not a pattern"),
        ("upstream-deny", "django>=", "PEP 440"),
        ("upstream-deny", ">=1", "not a requirement"),
        ("merge-upstream", "a b", "not a pattern"),
        ("route", "x", "[[route]]"),
        ("route", ["x"], "[[route]]"),
        ("route", [{"folder": "x"}], "has a pattern"),
        ("route", [{"pattern": "x", "folder": "x", "upstream": "pip"}], "a folder and an upstream"),
        ("route", [{"patern": "x"}], "did you mean pattern?"),
    ],
)
def test_a_wrong_value_of_uploads_and_upstreams_is_told_with_its_name(name, raw, part):
    sentence = refusal({name: raw})

    assert sentence.startswith(f"--{name}: ")
    assert part in sentence


@pytest.mark.parametrize("name", ["upstream", "on-upload", "auth"])
@pytest.mark.parametrize(
    "raw",
    [
        "me:s3cret@example.org/simple",
        "https://me:s3cret",
        "https://me:s3cret@",
        "https://me:s3cret@example.org:x/?y",
        "https://me:s3cret @example.org/",
        "https://me:s3cret@exämple.org/?",
        " :s3cret",
        "s3cret\n",
        ["s3cret s3cret"],
        {"s3cret": 1},
        b"s3cret",
    ],
)
def test_what_may_be_a_secret_is_not_shown(name, raw):
    if name != "auth" or not isinstance(raw, str) or ":" not in raw:  # a type may have any text
        assert "s3cret" not in refusal({name: raw, "upload": True})


# What goes together


@pytest.mark.parametrize(
    "given",
    [
        {"anonymous-upload": True},
        {"max-upload": "1GB"},
        {"overwrite": "*.dev*"},
        {"on-upload": "http://127.0.0.1/"},
    ],
)
def test_what_is_about_uploads_needs_uploads(given):
    (name,) = given

    assert refusal(given) == f"{name} has no effect without upload."
    assert read({**given, "upload": True}).uploads.upload


@pytest.mark.parametrize(
    "given",
    [
        {"upstream-mode": "proxy"},
        {"offline": True},
        {"cache": "/c"},
        {"cache-size": 1},
        {"cache-ttl": 1},
        {"cooldown": "7d"},
        {"upstream-only": "a"},
        {"upstream-deny": "a"},
        {"cooldown-except": "a"},
        {"no-sdists": True},
        {"merge-upstream": "a"},
        {"upstream-allow-address": "10.0.0.0/8"},
        {"upstream-page-timeout": "1m"},
        {"upstream-file-timeout": "5m"},
        {"upstream-rebuilds": "pip"},
        {"upstream-403-absent": "pip"},
    ],
)
def test_what_is_about_an_upstream_needs_one(given):
    (name,) = given
    route = [{"pattern": "a", "upstream": "pip"}]

    assert refusal(given) == f"{name} has no effect without an upstream."
    assert read({**given, "upstream": "pip"})
    assert read({**given, "route": route})


@pytest.mark.parametrize("name", ["upstream-rebuilds", "upstream-403-absent"])
def test_what_is_about_one_upstream_names_one(name):
    named = {"upstream": ["https://me:secret@a.example/x@y", "https://b.example/"]}

    for url in ("https://a.example/x@y/", "https://me:secret@a.example/x@y", "https://b.example"):
        assert read({**named, name: url})
    for url in ("https://c.example/", "https://me:secret@a.example/", "pip", "http://b.example/"):
        assert refusal({**named, name: url}) == f"{name} names a URL that is not one of the upstreams."


def test_names_may_be_local_only_without_an_upstream():
    assert read({"local-only": "acme-*"}).upstreams.policy.local_only == ("acme-*",)


@pytest.mark.parametrize(
    "given",
    [
        {"cooldown": "7d"},
        {"cooldown-except": "a"},
        {"no-sdists": True},
        {"merge-upstream": "a"},
        {"upstream-deny": "a>1"},
        {"offline": True},
        {"cache": "/c"},
        {"cache-size": 1},
        {"upstream": ["pip", "http://127.0.0.1/"]},
    ],
)
def test_a_redirect_leaves_no_say_in_what_is_behind_it(given):
    assert "redirect" in refusal({"upstream": "pip", "upstream-mode": "redirect", **given})


@pytest.mark.parametrize("name", ["local-only", "upstream-only", "upstream-deny"])
def test_a_redirect_keeps_rules_of_names(name):
    assert read({"upstream": "pip", "upstream-mode": "redirect", name: "acme-*"})


def test_a_proxy_keeps_nothing():
    given = {"upstream": "pip", "upstream-mode": "proxy", "offline": True}

    assert refusal(given) == "offline has no effect with upstream-mode proxy, which caches nothing."


def test_offline_needs_a_place_where_something_may_be():
    given = {"upstream": "pip", "offline": True}

    assert refusal({**given, "state": "none"}).startswith("offline requires a filled cache")
    assert read({**given, "state": "none", "cache": "/c"})
    assert read({**given, "state": "/s"})


@pytest.mark.parametrize("cache", ["/packages", "/packages/cache"])
def test_a_cache_is_not_a_folder_of_packages(cache):
    given = {"upstream": "pip", "path": "/packages"}

    assert "cannot be in the folder" in refusal({**given, "cache": cache})
    assert read({**given, "cache": "/packages2"})


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "true", '"4"', "nan"])
def test_a_count_is_a_whole_number_from_1(file, value):
    path = file(f"[limits]\nthreads = {value}")

    assert refusal({"config": path}).endswith("is not a whole number from 1.")
    assert refusal({"config": path}).startswith(f"{path}: limits: threads: ")


@pytest.mark.parametrize("value", ["0", "nan", "inf", '"x"', "-2"])
def test_a_time_limit_is_a_duration_but_not_0(file, value):
    assert "limits: stall-timeout: " in refusal({"config": file(f"[limits]\nstall-timeout = {value}")})


@pytest.mark.parametrize(
    "field",
    [
        "X-A",
        "X A: 1",
        ": 1",
        "X-A:",
        "X-A: a\r\nSet-Cookie: b",
        "X-A: a\nb",
        "X-A: é",
        "Ä: 1",
        "X-A: \0",
        "X-A: a\x7f",
    ],
)
def test_a_header_field_is_one_line_of_ascii(field):
    assert refusal({"add-header": [field]}).startswith("--add-header: ")


@pytest.mark.parametrize("field", ["Content-Length: 1", "transfer-encoding: chunked", "ETag: x"])
def test_fields_that_frame_an_answer_cannot_be_added(field):
    assert "set by the server itself" in refusal({"add-header": field})


def test_a_header_value_keeps_its_colons():
    assert read({"add-header": "Link: <http://a>"}).add_headers == ((b"Link", b"<http://a>"),)


@pytest.mark.parametrize(
    "url",
    [
        "example.org",
        "ftp://a",
        "http://",
        "http://a:b",
        "http://a:99999",
        "http://[::1",
        "http://a b",
        "http://ä",
        "",
    ],
)
def test_a_public_url_is_http_or_https_with_a_host(url):
    assert refusal({"public-url": url}).startswith("--public-url: ")


@pytest.mark.parametrize("url", ["http://a/?b", "http://a/?", "http://a/#b", "http://me:secret@a/"])
def test_a_public_url_has_no_query_fragment_or_user(url):
    assert "leave that out" in refusal({"public-url": url})


def test_a_public_url_loses_the_slash_at_its_end():
    assert read({"public-url": "https://[fd00::1]:8443/a/"}).public_url == "https://[fd00::1]:8443/a"


# Durations


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("2", 2),
        ("0", 0),
        (".5", 0.5),
        ("500ms", 0.5),
        ("30s", 30),
        ("5 m", 300),
        (" 2h ", 7200),
        ("7d", 604800),
    ],
)
def test_a_duration_is_seconds_or_has_a_unit(raw, seconds):
    assert duration(raw) == seconds


@given(st.floats(min_value=0, allow_infinity=False))
def test_any_number_of_seconds_is_a_duration(seconds):
    assert duration(seconds) == seconds


@given(st.one_of(st.text(), st.floats(), st.integers(), st.booleans(), st.none()))
def test_anything_is_a_duration_or_a_value_error(raw):
    with contextlib.suppress(ValueError):
        assert duration(raw) >= 0


@pytest.mark.parametrize(
    ("written", "means"),
    [("0", 0), (5, 5), ("500kB", 500_000), ("1.5 GB", 1_500_000_000), ("64MiB", 64 << 20), ("12", 12)],
)
def test_a_size_may_be_written_in_the_usual_units(written, means):
    assert size(written) == means


@pytest.mark.parametrize("written", ["", "-1", -1, "64mb", "many", True, 1.5, "1TB", None])
def test_what_is_no_size_is_refused(written):
    with pytest.raises(ValueError, match="not a size"):
        size(written)


# Fields of proxies


@pytest.mark.parametrize("name", ["user-header", "groups-header", "groups-separator"])
def test_fields_of_users_need_a_proxy_that_may_state_users(name):
    value = "|" if name == "groups-separator" else "X-Stated"
    trusted = {"trusted-proxy": "10.0.0.1", name: value}

    assert refusal(trusted) == f"{name} has no effect without a trusted-proxy users:ADDRESS."
    whole = {"trusted-proxy": "users:10.0.0.1", "groups-header": "X-Groups", name: value}
    assert read(whole).access.user_header in ("X-Remote-User", "X-Stated")


def test_users_and_groups_have_fields_of_their_own():
    proxy = {"trusted-proxy": "users:10.0.0.1"}

    assert (
        refusal({**proxy, "groups-separator": "|"}) == "groups-separator has no effect without groups-header."
    )
    assert refusal({**proxy, "groups-header": "x-remote-user"}) == (
        "user-header and groups-header are both x-remote-user."
    )


@pytest.mark.parametrize("name", ["user-header", "groups-header"])
@pytest.mark.parametrize(
    "field",
    [
        *("Authorization", "COOKIE", "Host", "Connection", "Keep-Alive", "TE", "Upgrade", "Via", "Range"),
        *("Proxy-Authorization", "Transfer-Encoding", "Content-Length", "Accept", "If-None-Match"),
        *("Forwarded", "X-Forwarded-For", "x-forwarded-host", "Sec-Fetch-Site", "Origin", "Referer"),
        "User-Agent",
    ],
)
def test_a_field_with_a_meaning_of_its_own_states_no_user(name, field):
    given = {"trusted-proxy": "users:10.0.0.1", name: field}

    assert refusal(given) == (
        f"--{name}: {field} has another meaning in HTTP; name a field that only the proxy sets."
    )


@pytest.mark.parametrize("field", ["", "X User", "X-User:", "X-Us\u00e9r", 3])
def test_the_name_of_a_field_is_a_token(field):
    assert "X-Forwarded-User" in refusal({"user-header": field}) or field in ("", 3)


@pytest.mark.parametrize("separator", ["", ",|", ";", " ", "a"])
def test_groups_are_separated_by_a_comma_or_a_bar(separator):
    given = {"trusted-proxy": "users:unix", "groups-header": "Groups", "groups-separator": separator}

    assert refusal(given) == f'--groups-separator: {separator!r} does not separate groups; write "," or "|".'


def test_a_bucket_and_its_settings_come_from_anywhere(file):
    lines = 'path = "s3://acme/python/"\ndeliver = "redirect"\nsingle-writer = true\ninstance-metadata = true'
    found = read({"config": file(lines)})
    assert (found.paths, found.bucket) == (("s3://acme/python",), "s3://acme/python")
    assert dataclasses.astuple(found.objects) == ("redirect", True, True)


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        ('path = "s3://"', "names no bucket"),
        ('path = ["s3://acme", "packages"]', "the only path"),
        ('path = "s3://acme"\nindexes = "indexes"', "indexes needs packages in folders"),
        ('path = "s3://acme"\ndeliver = "quickly"', "no way to deliver"),
        ('deliver = "redirect"', "has no effect without a path in a bucket"),
    ],
)
def test_what_a_bucket_cannot_be_combined_with_is_refused(file, lines: str, part: str):
    with pytest.raises(ConfigurationError, match=part):
        read({"config": file(lines)})
