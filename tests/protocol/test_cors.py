"""CORS fields of replies, and the setting of allowed origins."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol.heads import ID, patch, plain
from tus_wsgi.protocol.cors import (
    MAX_MIRRORED,
    CorsPolicy,
    parse_allow_origin,
    parse_expose_headers,
)
from tus_wsgi.protocol.http import RequestHead

SITE = "https://example.com"
OTHER = "https://evil.example"


def policy(setting: str, *, credentials: bool = False) -> CorsPolicy:
    origins = parse_allow_origin(setting)
    return CorsPolicy(allow_origins=origins, allow_credentials=credentials)


def fields_for(policy: CorsPolicy, head: RequestHead) -> dict[str, str]:
    fields = policy.fields_for(head)
    assert len(dict(fields)) == len(fields), "a field is repeated"
    return dict(fields)


def preflight(origin: str, method: str = "PATCH") -> RequestHead:
    return plain("OPTIONS", ID, {"Origin": origin, "Access-Control-Request-Method": method})


def request(origin: str) -> RequestHead:
    return patch({"Origin": origin})


@pytest.mark.parametrize("credentials", [False, True])
def test_a_preflight_allows_the_methods_and_fields_of_all_clients(*, credentials: bool) -> None:
    """Section 4.2."""
    fields = fields_for(policy("*", credentials=credentials), preflight(SITE))
    methods = fields["Access-Control-Allow-Methods"].split(", ")
    assert {"POST", "PUT", "HEAD", "PATCH", "DELETE", "OPTIONS"} <= set(methods)
    headers = set(fields["Access-Control-Allow-Headers"].split(", "))
    upload = ("Length", "Offset", "Metadata", "Defer-Length", "Concat", "Checksum", "Complete")
    expected = {f"Upload-{name}" for name in (*upload, "Incomplete", "Draft-Interop-Version")}
    expected |= {"Authorization", "Content-Type", "Content-Disposition", "Tus-Resumable"}
    expected |= {"X-HTTP-Method-Override"}
    assert expected | {"X-Request-ID", "X-Requested-With"} == headers
    assert fields["Access-Control-Max-Age"] == "86400"
    assert "Access-Control-Expose-Headers" not in fields


PREFLIGHT_OF_A_PAGE = "x-csrftoken, x-api-key,traceparent, sentry-trace , baggage"


def asking_for(names: str, origin: str = SITE) -> RequestHead:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": names}
    return plain("OPTIONS", ID, {"Origin": origin, **asked})


def allowed_fields(policy: CorsPolicy, head: RequestHead) -> list[str]:
    return fields_for(policy, head)["Access-Control-Allow-Headers"].split(", ")


@pytest.mark.parametrize(
    "policy", [policy("*"), policy("*", credentials=True), policy(SITE), policy(r"https://.*\.com")]
)
def test_a_preflight_allows_the_fields_that_a_page_asks_for(policy: CorsPolicy) -> None:
    """Fields of the application, of proxies and of tracing."""
    names = allowed_fields(policy, asking_for(PREFLIGHT_OF_A_PAGE))
    assert names[-5:] == ["x-csrftoken", "x-api-key", "traceparent", "sentry-trace", "baggage"]
    assert "Upload-Offset" in names


def test_an_origin_that_is_not_allowed_gets_no_fields_that_it_asks_for() -> None:
    head = asking_for(PREFLIGHT_OF_A_PAGE, OTHER)
    assert policy(SITE).fields_for(head) == [("Vary", "Origin")]


def test_fields_that_are_always_allowed_are_not_repeated() -> None:
    names = allowed_fields(policy("*"), asking_for("tus-resumable,upload-offset,AUTHORIZATION"))
    assert len(names) == len({name.lower() for name in names})


@pytest.mark.parametrize("names", ["", " ", ",", "x y", "a\r\nb: c", "a:b", "\xe4", "a;b", '"a"'])
def test_names_that_cannot_be_fields_are_not_mirrored(names: str) -> None:
    assert allowed_fields(policy("*"), asking_for(names)) == allowed_fields(
        policy("*"), preflight(SITE)
    )


def test_the_number_of_mirrored_fields_is_limited() -> None:
    plain_count = len(allowed_fields(policy("*"), preflight(SITE)))
    many = ",".join(f"x-{number}" for number in range(10_000))
    assert len(allowed_fields(policy("*"), asking_for(many))) == plain_count + MAX_MIRRORED


def exposed_fields(policy: CorsPolicy, exposed: tuple[str, ...] = ()) -> list[str]:
    fields = dict(policy.fields_for(request(SITE), exposed))
    return fields["Access-Control-Expose-Headers"].split(", ")


def test_the_setting_and_the_application_expose_more_fields() -> None:
    names = parse_expose_headers("X-Request-ID , ,X-Trace")
    configured = CorsPolicy(expose_headers=names)
    assert exposed_fields(configured, ("X-Reason",))[-3:] == ["X-Request-ID", "X-Trace", "X-Reason"]
    assert exposed_fields(CorsPolicy(expose_headers=("*",)))[-1] == "*"
    assert "Upload-Offset" in exposed_fields(configured)


@pytest.mark.parametrize("setting", ["x y", "a:b", "X-A\nX-B", "\xe4"])
def test_only_names_of_fields_can_be_exposed(setting: str) -> None:
    with pytest.raises(ValueError, match="names of fields"):
        parse_expose_headers(setting)


def test_other_replies_expose_their_fields() -> None:
    """Section 4.2: otherwise a script cannot read the offset."""
    for head in (request(SITE), plain("OPTIONS", None, {"Origin": SITE})):
        fields = fields_for(policy("*"), head)
        exposed = set(fields["Access-Control-Expose-Headers"].split(", "))
        assert {"Location", "Upload-Offset", "Upload-Length", "Upload-Metadata"} <= exposed
        assert {"Upload-Defer-Length", "Upload-Concat", "Upload-Expires"} <= exposed
        assert {"Upload-Complete", "Upload-Incomplete", "Upload-Limit"} <= exposed
        assert {"Upload-Draft-Interop-Version", "Tus-Resumable", "Tus-Version"} <= exposed
        assert {"Tus-Max-Size", "Tus-Extension", "Tus-Checksum-Algorithm"} <= exposed
        assert "Access-Control-Allow-Methods" not in fields


def test_the_wildcard_gives_the_same_reply_to_all_origins() -> None:
    wildcard = policy("*")
    replies = [fields_for(wildcard, request(origin)) for origin in (SITE, OTHER, "null", "@")]
    replies.append(fields_for(wildcard, patch()))
    assert all(reply == replies[0] for reply in replies)
    assert replies[0]["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in replies[0]


@pytest.mark.parametrize("setting", ["*", SITE, rf"{SITE},https://.*\.example\.org", ".*"])
def test_with_credentials_the_reply_names_the_origin(setting: str) -> None:
    fields = fields_for(policy(setting, credentials=True), request(SITE))
    assert fields["Access-Control-Allow-Origin"] == SITE
    assert fields["Access-Control-Allow-Credentials"] == "true"
    assert fields["Vary"] == "Origin"


def test_credentials_are_not_allowed_by_default() -> None:
    fields = fields_for(policy(SITE), request(SITE))
    assert fields["Access-Control-Allow-Origin"] == SITE
    assert "Access-Control-Allow-Credentials" not in fields


@pytest.mark.parametrize("head", [request(OTHER), preflight(OTHER), patch()])
def test_an_origin_that_is_not_allowed_gets_only_vary(head: RequestHead) -> None:
    assert policy(SITE).fields_for(head) == [("Vary", "Origin")]


@pytest.mark.parametrize(
    ("setting", "origin", "allowed"),
    [
        (SITE, SITE, True),
        (SITE, "http://example.com", False),
        (SITE, f"{SITE}:8443", False),
        (SITE, f"{SITE}.evil.example", False),
        (SITE, "https://exampleXcom", False),
        (SITE, "null", False),
        (SITE, "", False),
        ("HTTPS://Example.com", SITE, True),
        (f"http://localhost:8080, {SITE}", SITE, True),
        (f"http://localhost:8080, {SITE}", "http://localhost:8080", True),
        ("http://[::1]:8080", "http://[::1]:8080", True),
        ("null", "null", True),
        ("capacitor://localhost", "capacitor://localhost", True),
        (r"https://[a-z]+\.example\.com", "https://a.example.com", True),
        (r"https://[a-z]+\.example\.com", SITE, False),
        (r"https?://example\.com", "http://example.com", True),
        (r"https?://example\.com", "https://example.com.evil.example", False),
        (r"https?://example\.com", "xhttps://example.com", False),
        (r"^https://example\.com$", SITE, True),
        (r"https://a{1,3}\.example,https://b\.example", "https://aaa.example", True),
        (r"https://a{1,3}\.example,https://b\.example", "https://b.example", True),
        (".*", OTHER, True),
        (".*", "https://a b", False),
        (".*", f"{SITE}, {OTHER}", False),
        (".*", f"{SITE}\r\nX: y", False),
        (".*", f"{SITE}\n", False),
    ],
)
def test_origins_match_as_a_whole(setting: str, origin: str, allowed: bool) -> None:
    fields = fields_for(policy(setting), request(origin))
    assert fields.get("Access-Control-Allow-Origin") == (origin if allowed else None)


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param("", id="empty"),
        pytest.param(" , ", id="two empty entries"),
        pytest.param(f"{SITE},", id="a trailing comma"),
        pytest.param(f"{SITE}/", id="a trailing slash"),
        pytest.param(f"{SITE}/app", id="a path"),
        pytest.param("example.com", id="no scheme"),
        pytest.param("https://(", id="an invalid regular expression"),
        pytest.param("https://*.example.com", id="a wildcard inside an origin"),
    ],
)
def test_an_entry_that_never_matches_is_rejected(setting: str) -> None:
    with pytest.raises(ValueError, match="expected .*got "):
        parse_allow_origin(setting)


def test_the_setting_is_a_comma_separated_list() -> None:
    parsed = parse_allow_origin(rf"*, {SITE} ,https://.+\.example")
    assert parsed == ("*", SITE, re.compile(r"https://.+\.example", re.ASCII))


def test_max_age_of_a_preflight_can_be_set() -> None:
    fields = fields_for(CorsPolicy(max_age=600), preflight(SITE))
    assert fields["Access-Control-Max-Age"] == "600"


@pytest.mark.property
@settings(deadline=None)
@given(st.text())
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    try:
        origins = parse_allow_origin(text)
    except ValueError:
        return
    assert origins


@pytest.mark.property
@settings(deadline=None)
@given(st.text() | st.from_regex(r"https?://[a-z.]{1,9}(:[0-9]{1,4})?[\s\x00-\xff]?"))
def test_only_origins_are_echoed(origin: str) -> None:
    echoed = fields_for(policy(".*", credentials=True), request(origin))
    if "Access-Control-Allow-Origin" in echoed:
        assert re.fullmatch(r"[!-~]+", echoed["Access-Control-Allow-Origin"])
