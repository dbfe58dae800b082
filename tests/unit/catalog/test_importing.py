"""Catalogues of others become providers of ours, whole, in part, or not at all; what is half understood is told."""

import string
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import catalog, connections, sdk
from interlock.catalog import Coverage, Entry

YAML = """
acme-crm:
  display_name: Acme CRM
  categories: [crm]
  auth_mode: API_KEY
  proxy:
    base_url: https://${connectionConfig.subdomain}.acme.dev/v2/
    headers:
      authorization: Bearer ${apiKey}
      x-version: ${connectionConfig.version} || 2026-01-01
      content-type: application/json
    retry: {after: [retry-after], at: [x-reset], remaining: x-left, error_code: ["403"]}
    paginate: {type: cursor, cursor_path_in_response: meta.next, cursor_name_in_request: cursor, response_path: items}
    verification: {method: GET, endpoints: [/me]}
  credentials:
    apiKey: {type: string, title: API key, description: Of your account, pattern: "^[a-z0-9]+$"}
  connection_config:
    subdomain: {type: string, title: Subdomain, description: Of your account, example: rocket}
acme-crm-eu:
  alias: acme-crm
  display_name: Acme CRM in Europe
"""


def entry(said: dict[str, Any], name: str = "acme", **others: dict[str, Any]) -> Entry:
    """The first entry of a catalogue in the format of Nango."""
    content = orjson.dumps({name: {"display_name": "Acme", **said}, **others})
    return catalog.read_catalogue(content, form="nango", source="providers.yaml").entries[0]


def profile(found: Entry) -> sdk.AuthProfile:
    assert found.provider is not None, found.missing
    return found.provider.auth[0]


def oauth2(**said: Any) -> dict[str, Any]:
    return {
        "auth_mode": "OAUTH2",
        "authorization_url": "https://acme.dev/authorize",
        "token_url": "https://acme.dev/token",
        "proxy": {"base_url": "https://api.acme.dev"},
        **said,
    }


def test_an_entry_is_taken_over_whole():
    found = catalog.read_catalogue(YAML.encode(), form="nango", source="providers.yaml")
    first, second = found.entries
    assert (first.coverage, first.missing, first.open_host) == (Coverage.FULL, (), False)
    provider, made = first.provider, profile(first)
    assert provider is not None
    assert provider.provider_id == "acme_crm"
    assert made.base_url == "https://{subdomain}.acme.dev/v2"
    assert {each.name: (each.secret, each.default) for each in made.fields} == {
        "subdomain": (False, None),
        "api_key": (True, None),
        "version": (False, "2026-01-01"),
    }
    assert [(each.place, getattr(each, "template", "")) for each in made.apply] == [
        ("header", "Bearer {api_key}"),
        ("header", "{shown_x_version}"),
    ]
    assert made.derive == {"shown_x_version": "{version}"}
    assert made.probe == sdk.Probe(path="/me")
    assert [(rule.status, rule.code) for rule in provider.errors] == [("429", "rate_limited"), ("403", "rate_limited")]
    assert provider.paging == sdk.Paging(style="cursor", items="/items", cursor="/meta/next", cursor_name="cursor")
    assert second.provider is not None
    assert second.provider.display_name == "Acme CRM in Europe"
    assert second.provider.auth == provider.auth
    assert found.totals == {Coverage.FULL: 2, Coverage.PARTIAL: 0, Coverage.REFUSED: 0}


def test_oauth_is_asked_for_as_the_entry_says():
    found = entry(
        oauth2(
            token_params={"grant_type": "authorization_code", "audience": "https://acme.dev"},
            authorization_params={"response_type": "code", "prompt": "consent"},
            refresh_params={"grant_type": "refresh_token", "scope": "all"},
            refresh_url="https://acme.dev/refresh",
            scope_separator=",",
            disable_pkce=True,
            token_request_auth_method="basic",
            body_format="json",
            authorization_url_replacements={"client_id=": "app_id="},
            default_scopes=["read"],
        )
    )
    assert found.missing == ()
    grant = profile(found).grant
    assert isinstance(grant, sdk.grants.AuthorizationCode)
    assert (grant.pkce, grant.scope_separator, grant.token.client_auth, grant.token.body_format) == (
        "none",
        ",",
        "basic",
        "json",
    )
    assert grant.token.params == {"audience": "https://acme.dev"}
    assert grant.authorize_params == {"prompt": "consent", "client_id": None, "app_id": "{client_id}"}
    asked = sdk.grants.exchanges(grant)
    assert asked["refresh"].url == "https://acme.dev/refresh"
    assert asked["refresh"].params["scope"] == "all"
    assert profile(found).scopes_offered == ("read",)
    assert profile(found).shown_fields == ("access_token",)


def test_a_client_is_given_and_shown_as_the_entry_says():
    said = oauth2(auth_mode="OAUTH2_CC", token_params={"grant_type": "client_credentials", "tenant": "${clientId}"})
    made = profile(entry(said))
    assert made.secret_fields == ("client_secret",)
    grant = made.grant
    assert isinstance(grant, sdk.grants.ClientCredentials)
    assert (grant.token.client_auth, grant.token.params) == ("post", {"tenant": "{client_id}"})
    custom = profile(entry({**said, "token_request_auth_method": "custom"})).grant
    assert isinstance(custom, sdk.grants.ClientCredentials)
    assert (custom.token.client_auth, custom.token.params["password"]) == ("none", "{client_secret}")


def test_steps_know_what_the_first_one_answered():
    said = oauth2(
        auth_mode="TWO_STEP",
        token_params={"user": {"key": "${credentials.apiKey}"}},
        token_headers={"content-type": "application/json", "x-app": "${connectionConfig.app}"},
        token_response={"token": "data.token", "token_expiration": "ends", "token_expiration_strategy": "expireIn"},
        additional_steps=[
            {"token_url": "https://acme.dev/second", "token_params": {"ticket": "${step1.data.ticket}"}},
        ],
    )
    del said["authorization_url"]
    said["proxy"]["headers"] = {"x-token": "${accessToken}"}
    found = entry(said)
    assert found.missing == ()
    grant = profile(found).grant
    assert isinstance(grant, sdk.grants.TokenExchange)
    first, second = grant.steps
    assert first.params == {"/user/key": "{api_key}", "client_id": None}
    assert first.headers == {"x-app": "{app}"}
    assert first.answer.extra == {"step_data_ticket": "/data/ticket"}
    assert second.params["ticket"] == "{step1.step_data_ticket}"
    assert (second.answer.access_token, second.answer.expires_in) == ("/data/token", "/ends")


def test_basic_and_fixed_values():
    said: dict[str, Any] = {
        "auth_mode": "BASIC",
        "proxy": {"base_url": "https://api.acme.dev"},
        "credentials": {"username": {"title": "Key"}, "password": {"hidden": True, "default_value": "x"}},
    }
    made = profile(entry(said))
    assert made.secret_fields == ("username",)
    assert made.derive == {"shown_authorization": "base64({username}:x)"}
    usual = profile(entry({**said, "credentials": {}}))
    assert usual.secret_fields == ("password",)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"auth_mode": "OAUTH1"}, "mode: OAUTH1: OAuth 1 is not spoken"),
        ({"auth_mode": "API_KEY"}, "base_url: "),
        ({"auth_mode": "API_KEY", "proxy": {"base_url": "https://acme.dev/bot${apiKey}"}}, "address: it would hold"),
        ({"auth_mode": "API_KEY", "proxy": {"base_url": "ftp://acme.dev"}}, "base_url: 'ftp://acme.dev' is no https"),
        ({"auth_mode": "API_KEY", "proxy": {"base_url": "https://acme.dev", "body": {"key": "${apiKey}"}}}, "body: "),
        (
            {
                "auth_mode": "API_KEY",
                "proxy": {"base_url": "https://a.dev", "headers": {"x-s": "${awsSigV4(${apiKey})}"}},
            },
            "template: the function awsSigV4",
        ),
        (
            {"auth_mode": "API_KEY", "proxy": {"base_url": "https://a.dev", "headers": {"x-s": "${nowhere.name}"}}},
            "template: nothing is known of nowhere.name",
        ),
        (
            {"auth_mode": "API_KEY", "proxy": {"base_url": "https://${connectionConfig.x"}},
            "template: a value does not end",
        ),
        ({"alias": "nobody"}, "alias: there is no entry 'nobody'"),
        (oauth2(token_request_auth_method="smoke"), "token_request_auth_method: smoke"),
        (oauth2(authorization_url_fragment="x"), "authorization_url_fragment: "),
    ],
)
def test_what_cannot_be_said_in_our_words_is_refused(said: dict[str, Any], why: str):
    found = entry(said)
    assert found.coverage is Coverage.REFUSED
    assert found.missing[0].startswith(why)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (oauth2(post_connection_script="acmePostConnection"), "post_connection_script: code of its own"),
        (oauth2(something_new=1), "something_new: it is not taken over"),
        (oauth2(token_response_metadata=["team.id"]), "token_response_metadata: team.id is not kept"),
        (
            oauth2(proxy={"base_url": "${connectionConfig.instance_url}"}),
            "address: instance_url is asked for as a host, not as a whole address",
        ),
        (
            oauth2(proxy={"base_url": "https://a.dev", "verification": {"method": "POST", "endpoints": ["/me"]}}),
            "verification: it asks for more than a plain read",
        ),
    ],
)
def test_what_is_left_out_is_told(said: dict[str, Any], what: str):
    found = entry(said)
    assert found.coverage is Coverage.PARTIAL
    assert found.missing == (what,)


def test_the_causes_are_counted_by_coverage():
    said = {
        "a": oauth2(post_connection_script="x", other=1),
        "b": oauth2(post_connection_script="y"),
        "c": {"auth_mode": "OAUTH1"},
        "d": oauth2(),
    }
    found = catalog.read_catalogue(orjson.dumps(said), form="nango", source="f")
    assert [(each.coverage, each.what, each.entries, each.alone, each.example) for each in found.causes] == [
        (Coverage.PARTIAL, "post_connection_script", 2, 1, "a: code of its own"),
        (Coverage.PARTIAL, "other", 1, 0, "a: it is not taken over"),
        (Coverage.REFUSED, "mode", 1, 1, "c: OAUTH1: OAuth 1 is not spoken"),
    ]


def test_what_an_address_for_tokens_says_besides_becomes_parameters():
    said = {
        "auth_mode": "TWO_STEP",
        "token_url": "https://acme.dev/token?grant_type=client_credentials&secret=${credentials.secret}",
        "token_request_method": "GET",
        "token_response": {"token": "token"},
        "proxy": {
            "base_url": "https://acme.dev",
            "headers": {"authorization": "Bearer ${accessToken}"},
            "verification": {"method": "GET", "endpoints": ["/things?limit=1&x[y]=z"]},
        },
    }
    found = entry(said)
    assert (found.missing, profile(found).probe) == ((), sdk.Probe(path="/things?limit=1&x[y]=z"))
    grant = profile(found).grant
    assert isinstance(grant, sdk.grants.TokenExchange)
    step = grant.steps[0]
    assert (step.url, step.body_format) == ("https://acme.dev/token", "query")
    assert step.params == {"grant_type": "client_credentials", "secret": "{secret}", "client_id": None}
    both = entry({**said, "token_request_method": "POST", "token_params": {"a": "b"}})
    assert both.coverage is Coverage.REFUSED


def test_offsets_say_where_they_begin_and_what_they_count():
    paginate = {"type": "offset", "offset_name_in_request": "page", "offset_start_value": 1}
    proxy = {"base_url": "https://a.dev", "paginate": {**paginate, "offset_calculation_method": "per-page"}}
    found = entry(oauth2(proxy=proxy))
    assert found.missing == ()
    assert found.provider is not None
    assert found.provider.paging == sdk.Paging(
        style="offset", offset_name="page", offset_start=1, offset_counts="pages"
    )


def test_of_two_alternatives_the_one_that_can_be_filled_counts():
    said = oauth2(
        authorization_url="https://accounts.acme.${connectionConfig.region} || https://accounts.acme.com",
        token_url="https://accounts.acme.${connectionConfig.region}/token || ${connectionConfig.server}/token",
    )
    found = entry(said)
    assert (found.missing, found.open_host) == ((), True)
    assert [(each.name, each.default) for each in profile(found).fields] == [("region", "com")]


def test_two_entries_with_one_name():
    said: dict[str, Any] = {"display_name": "Acme", **oauth2()}
    found = catalog.read_catalogue(orjson.dumps({"a-b": said, "a_b": said}), form="nango", source="f").entries
    assert [each.coverage for each in found] == [Coverage.FULL, Coverage.REFUSED]
    assert found[1].missing == ("name: a-b is called a_b, too",)


@pytest.mark.parametrize(
    "value", ["evil.com/", "evil.com#", "evil.com?", "a@evil.com", "evil.com\\", "", "a b", "%2e%2e"]
)
def test_a_value_does_not_leave_its_place_in_a_host(value: str):
    found = catalog.read_catalogue(YAML.encode(), form="nango", source="f").entries[0]
    with pytest.raises(connections.GrantRefused):
        connections.service(profile(found), {"subdomain": value})
    assert connections.service(profile(found), {"subdomain": "rocket"}) == "https://rocket.acme.dev/v2"


@pytest.mark.parametrize(
    ("address", "open_host"),
    [
        ("https://${connectionConfig.x}.acme.dev", False),
        ("https://acme.dev/${connectionConfig.x}", False),
        ("https://${connectionConfig.x}", True),
        ("https://api.acme.${connectionConfig.x}", True),
        ("https://${connectionConfig.x}.co.uk", True),
        ("https://${connectionConfig.x}acme.dev", True),
    ],
)
def test_it_is_told_where_whoever_connects_says_the_host(address: str, open_host: bool):
    assert entry(oauth2(proxy={"base_url": address})).open_host is open_host


GRANT = {
    "acme": {
        "authorize_url": "https://[subdomain].acme.dev/authorize?audience=api",
        "access_url": "https://[subdomain].acme.dev/token",
        "oauth": 2,
        "scope_delimiter": " ",
    },
    "old": {"request_url": "https://old.dev/request", "authorize_url": "https://old.dev/a", "oauth": 1},
}


def test_the_format_of_grant():
    first, second = catalog.read_catalogue(orjson.dumps(GRANT), form="grant", source="oauth.json").entries
    made = profile(first)
    assert (first.coverage, first.open_host) == (Coverage.FULL, True)
    assert [each.name for each in made.fields] == ["api_host", "subdomain"]
    grant = made.grant
    assert isinstance(grant, sdk.grants.AuthorizationCode)
    assert grant.authorize_url == "https://{subdomain}.acme.dev/authorize"
    assert grant.authorize_params == {"audience": "api"}
    assert grant.token.client_auth == "post"
    assert (second.coverage, second.missing) == (Coverage.REFUSED, ("oauth: OAuth 1 is not spoken",))


def test_our_own_format():
    provider = profile_of_ours()
    found = catalog.read_catalogue(orjson.dumps(provider), form="interlock", source="acme.json")
    assert [each.coverage for each in found.entries] == [Coverage.FULL]
    wrong = {**provider, "headers": {"Authorization": "x"}, "paging": {"style": "link", "items": "no pointer"}}
    with pytest.raises(sdk.InvalidProvider) as caught:
        catalog.read_catalogue(orjson.dumps(wrong), form="interlock", source="acme.json")
    assert {each.path for each in caught.value.problems} == {"headers.Authorization", "paging.items"}


def profile_of_ours() -> dict[str, Any]:
    return {
        "contract": sdk.PROVIDER_CONTRACT,
        "provider_id": "acme",
        "display_name": "Acme",
        "auth": [sdk.api_key(base_url="https://api.acme.dev")],
    }


@pytest.mark.parametrize(
    "content",
    [b"", b"- a", b"a: &x 1\nb: *x", b"a: 1\na: 2", b'{"a": 1, "a": 2}', b"\xff", b"{}", b"a: [", b"{" * 40],
)
def test_what_is_no_catalogue(content: bytes):
    for form in ("nango", "grant"):
        with pytest.raises(sdk.InvalidProvider):
            catalog.read_catalogue(content, form=form, source="f")


def test_only_some():
    found = catalog.read_catalogue(YAML.encode(), form="nango", source="f")
    assert [each.entry_id for each in found.only(["acme_crm_eu"]).entries] == ["acme-crm-eu"]
    with pytest.raises(sdk.InvalidProvider, match="there is no entry 'nobody'"):
        found.only(["nobody"])


WORDS = st.sampled_from(
    [
        "https://${connectionConfig.a}.b.dev/x",
        "${apiKey}",
        "${",
        "}",
        "||",
        "${base64(${a}:${b})}",
        "OAUTH2",
        "TWO_STEP",
    ]
) | st.text(string.ascii_letters + string.digits + string.punctuation + " ", max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    ["auth_mode", "alias", "proxy", "credentials", "connection_config", "token_url", "authorization_url", "token_params",
     "token_response", "token_headers", "additional_steps", "body_format", "default_scopes", "categories", "refresh_url",
     "oauth", "authorize_url", "access_url", "scope_delimiter", "authorization_url_replacements", "token_expires_in_ms"]
)  # fmt: skip
PROXY = st.fixed_dictionaries(
    {"base_url": WORDS},
    optional=dict.fromkeys(("headers", "query", "retry", "paginate", "verification", "body"), VALUES),
)
MODE = st.sampled_from(["API_KEY", "BASIC", "OAUTH2", "OAUTH2_CC", "TWO_STEP", "MCP_OAUTH2", "NONE"])


def whole(members: dict[str, Any], mode: str, proxy: dict[str, Any]) -> Any:
    return {**members, "auth_mode": mode, "proxy": proxy}


ENTRY = st.builds(whole, st.dictionaries(MEMBERS, VALUES, max_size=6), MODE, PROXY)


@given(
    st.dictionaries(
        st.text(string.ascii_letters + "-_1ä", min_size=1, max_size=8), ENTRY | VALUES, min_size=1, max_size=3
    )
)
def test_whatever_an_entry_says_it_is_covered_or_refused(document: dict[str, Any]):
    for form in ("nango", "grant"):
        found = catalog.read_catalogue(orjson.dumps(document), form=form, source="f")
        assert len(found.entries) == len(document)
        for each in found.entries:
            assert (each.provider is None) == (each.coverage is Coverage.REFUSED)
            assert each.provider is not None or each.missing
            if each.provider is not None:
                assert sdk.read_provider(each.provider.to_json(), source="again") == each.provider


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("a: {display_name: Müller}".encode("latin-1"), "it is not UTF-8: byte 20"),
        (b"a: &a [x]\nb: [*a, *a]", "anchors, aliases and tags"),
        (b"a: !!python/object/apply:os.system [id]", "anchors, aliases and tags"),
        (b"a: " + b"[" * 10_000, "nested deeper"),
        (b'{"a": ' + b"[" * 10_000, "nested deeper"),
        (b"a: {}\na: {}", "stands twice"),
        (b'{"a": {}, "a": {}}', "stands twice"),
        (b"x" * (8 * 1_048_576 + 1), "larger than 8388608 bytes"),
        (b"", "empty"),
    ],
)
def test_what_is_no_catalogue_is_told_in_words(content: bytes, why: str):
    with pytest.raises(sdk.InvalidProvider, match=why):
        catalog.read_catalogue(content, form="nango", source="f")


def test_an_entry_that_is_no_mapping_is_refused_as_that():
    found = catalog.read_catalogue(b'{"a": 1, "b": {"alias": "c"}}', form="nango", source="f").entries
    assert [each.missing for each in found] == [("entry: 'a' is no mapping",), ("alias: there is no entry 'c'",)]
