import contextlib
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import fix_connector as fix
from interlock import plane, sdk


def problems(**changes: Any) -> list[str]:
    with pytest.raises(sdk.InvalidManifest) as raised:
        fix.connector(**changes)
    assert len(raised.value.details["problems"]) == len(raised.value.problems)  # type: ignore[arg-type]
    return [str(problem) for problem in raised.value.problems]


def broken(**changes: Any) -> list[str]:
    """The problems of one operation that is right but for the changes (to a POST without reconcile). They are told as
    well where other members are wrong in themselves."""
    draft = {**sdk.post("one", "/x", input=fix.TicketCreate, output=fix.Deleted), **changes}
    found = problems(operations=[draft], triggers=[])
    assert set(found) <= set(problems(operations=[{**draft, "sandbox": "none?", "timeout_seconds": -1}], triggers=[]))
    return found


def http(**changes: Any) -> list[str]:
    return broken(http={"method": "POST", "path": "/x", **changes})


def reads(**changes: Any) -> list[str]:
    return broken(effect="read", idempotency="natural", http={"method": "POST", "path": "/x", **changes})


def test_the_same_connector_has_the_same_digest_in_python_yaml_and_json() -> None:
    manifest = fix.connector().manifest
    text = yaml.safe_dump(manifest.to_json())
    assert sdk.load_manifest(text) == manifest
    assert sdk.load_manifest(text).digest == manifest.digest
    assert fix.connector(operations=fix.operations()[::-1]).manifest.digest == manifest.digest
    assert fix.connector(description="Other.").manifest.digest != manifest.digest


NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,8}\Z")
TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20)
SCALARS = st.integers(-(2**53) + 1, 2**53 - 1) | st.booleans() | st.none() | st.floats(-1e9, 1e9)


def read(name: str, about: str, default: Any, status: int | str, seconds: float) -> sdk.Draft:
    fields = {"field": {"type": "string", "description": about, "default": default}}
    return sdk.get(
        f"read.{name}",
        "/things/{field}",
        input={"type": "object", "properties": fields, "additionalProperties": False},
        output={"type": "object", "properties": {"a": {"const": default, "x-from": "/a~1b"}}},
        about=about,
        errors=[sdk.error(status, "rate_limited", retry_after=sdk.wait(seconds=seconds))],
        timeout_seconds=seconds,
    )


STATUSES = st.integers(400, 599) | st.just("5xx")
READS = st.builds(read, NAMES, TEXTS, TEXTS | SCALARS, STATUSES, st.integers(1, 3600) | st.floats(1, 3600))


@settings(max_examples=30)
@given(st.lists(READS, min_size=1, max_size=3, unique_by=lambda draft: draft["operation_id"]), TEXTS)
def test_every_manifest_survives_a_file(drafts: list[sdk.Draft], description: str) -> None:
    manifest = fix.connector(operations=drafts, description=description).manifest
    text = manifest.model_dump_json()
    assert sdk.load_manifest(text).digest == manifest.digest
    # JSON is YAML too; the comment makes it be read as such.
    assert sdk.load_manifest(f"# a file\n{text}").digest == manifest.digest


def pair(template: str, *fields: str) -> sdk.Draft:
    """A credential of these fields."""
    return sdk.token_profile(template=template, secret_fields=fields, scopes=["repo"])


def sendable(**changes: Any) -> None:
    """A profile that the SDK accepts makes a credential that the plane takes."""
    with contextlib.suppress(sdk.InvalidManifest):
        kept = fix.connector(auth=[sdk.token_profile(scopes=["repo"], **changes)]).manifest.auth[0]
        [place] = kept.apply
        assert isinstance(place, sdk.HeaderPlace)
        ref = plane.HeaderCredential(handle="lse_1", name=place.name, template=place.template)
        assert (ref.ref.field,) == kept.secret_fields
        assert "a-secret-value" in ref.render("a-secret-value")


@given(
    st.text(min_size=2, max_size=2) | st.text(st.characters(codec="ascii"), min_size=2, max_size=2), st.integers(1, 150)
)
def test_a_template_that_is_accepted_can_be_sent(ends: str, times: int) -> None:
    sendable(template=f"{ends[0] * times}{{token}}{ends[1]}")


@given(st.text(max_size=3) | st.sampled_from(["Cookie", "Host", "Proxy-Authorization", "X-Api-Key", "x" * 101]))
def test_a_credentials_header_that_is_accepted_can_be_sent(header: str) -> None:
    sendable(header=header)


@given(st.from_regex(r"[a-z][a-z0-9_]{0,70}", fullmatch=True), st.booleans())
def test_a_secret_field_that_is_accepted_can_be_sent(name: str, second: bool) -> None:
    sendable(template=f"{{{name}}} {{x}}" if second else f"{{{name}}}", secret_fields=[name, "x"][: 1 + second])


def test_all_problems_of_a_credential_are_reported_with_the_rest() -> None:
    found = problems(version="1", auth=[pair("Básic {user}:{secret}", "user", "secret")])
    assert [each.partition(":")[0] for each in found] == [
        "version", "auth[token].apply[0].template", "auth[token].apply[0].template",
    ]  # fmt: skip


def test_all_problems_are_reported_at_once() -> None:
    drafts = fix.operations()
    drafts[0]["reconsile"] = drafts[0].pop("reconcile")
    drafts[2]["http"]["path"] = "/repos/{repo}/{nothing}"
    found = problems(version="1", base_url="http://example.com", operations=drafts, maturity="old", color="red")
    assert any(
        "operations[ticket.create].reconsile: there is no such key (did you mean 'reconcile'?)" in e for e in found
    )
    assert any("operations[ticket.list].http.path: {nothing} names no field" in each for each in found)
    for place in ("version", "auth[token].base_url", "maturity", "color"):
        assert any(each.startswith(f"{place}:") for each in found), place


MISTAKEN = """
contract: interlock.connector/v1
connector_id: tiny
version: one
display_name: Tiny
description: Many mistakes.
auth: [{profile_id: none, grant: {type: none}, base_url: "https://api.example", probe: {path: me, subject: x}, colour: red}]
operations:
  - operation_id: Tea.pour
    display_name: Pour
    description: Pour.
    effect: paint
    scopes: [admin]
    input_schema: {type: object, properties: {cups: {type: integer}}}
    output_schema: {type: object, properties: {cups: {type: integer}}}
    http:
      method: FETCH
      path: /tea/{kind}
      local: [spoon]
      headers: {Cookie: a}
      sucess: [200]
    errors: [{status: "418", code: teapot, when: 7}, {status: "419", code: resource_conflict, when: {pointer: a}}]
    reconcile:
      path: /tea
      match: {/cups: "{input.mugs}"}
      max_pages: 100
      output: {mugs: /mugs}
triggers:
  - trigger_id: tea.cold
    display_name: Cold
    description: 7
    delivery: poll
    scopes: [cook]
    signal_schema: {type: array}
    polling: {default_seconds: 1, min_seconds: 2, jitter: 3}
"""


def test_no_mistake_in_a_part_hides_another() -> None:
    with pytest.raises(sdk.InvalidManifest) as raised:
        sdk.load_manifest(MISTAKEN)
    placed = [(each.line, each.path) for each in raised.value.problems]
    operation, trigger = "operations[Tea.pour]", "triggers[tea.cold]"
    assert placed == [
        (4, "version"),
        (7, "auth[none].colour"),
        (7, "auth[none].probe.subject"),
        (7, "auth[none].probe.path"),
        (9, f"{operation}.operation_id"),
        (12, f"{operation}.effect"),
        (13, f"{operation}.scopes"),
        (14, f"{operation}.input_schema"),
        (17, f"{operation}.http.method"),
        (18, f"{operation}.http.path"),
        (19, f"{operation}.http.local.spoon"),
        (20, f"{operation}.http.headers.Cookie"),
        (21, f"{operation}.http.sucess"),
        (22, f"{operation}.errors[0].when"),
        (22, f"{operation}.errors[0].code"),
        (22, f"{operation}.errors[1].when.pointer"),
        (25, f"{operation}.reconcile.match[/cups]"),
        (26, f"{operation}.reconcile.max_pages"),
        (27, f"{operation}.reconcile.output.mugs"),
        (31, f"{trigger}.description"),
        (33, f"{trigger}.scopes"),
        (34, f"{trigger}.signal_schema.type"),
        (35, f"{trigger}.polling.jitter"),
        (35, f"{trigger}.polling"),
    ]


def test_python_declares_with_all_its_problems_too() -> None:
    draft = sdk.request("one", "/x/{nope}", method="FETCH", input=fix.TicketCreate, output=fix.Deleted, effect="paint")  # type: ignore[arg-type]
    found = problems(version="one", operations=[{**draft, "scopes": ["admin"]}])
    for place in ("version", *(f"operations[one].{name}" for name in ("effect", "http.method", "http.path", "scopes"))):
        assert any(each.startswith(f"{place}:") for each in found), (place, found)


@pytest.mark.parametrize("draft", fix.operations(), ids=lambda draft: draft["operation_id"])
def test_one_wrong_member_is_one_problem_and_not_what_might_follow_from_it(draft: sdk.Draft) -> None:
    for name in draft.keys() - {"operation_id"}:
        rest = {each: value for each, value in draft.items() if each != name}
        told = [each.partition(":")[0] for each in problems(operations=[{**rest, name: 7}], triggers=[])]
        assert {place.startswith(f"operations[{draft['operation_id']}].{name}") for place in told} == {True}, told
        misspelt = problems(operations=[{**rest, f"{name}s": draft[name]}], triggers=[])
        assert all(name in each for each in misspelt), misspelt


def test_unknown_keys_deep_inside_get_a_suggestion() -> None:
    assert http(encod={}) == ["operations[one].http.encod: there is no such key (did you mean 'encode'?)"]
    found = broken(errors=[{"status": "404", "code": "resource_not_found", "wen": {}}])
    assert found == ["operations[one].errors[0].wen: there is no such key (did you mean 'when'?)"]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda: broken(handler="a:b"), "exactly one of http, handler, command and script"),
        (lambda: broken(http=None), "exactly one of http, handler, command and script"),
        (lambda: broken(effect="read", idempotency="none"), "a read is natural"),
        (lambda: broken(idempotency="key"), "goes with idempotency"),
        (lambda: broken(idempotency="key", idempotency_header="Authorization"), "belongs to the credential"),
        (lambda: broken(surface={"mode": "common", "normalized_id": "a.b"}), "normalized_id and action_name"),
        (lambda: broken(surface={"mode": "local"}), "has a reason"),
        (lambda: broken(schemas={"input": "passthrough"}), "justification"),
        (lambda: broken(schemas={"input": "passthrough", "justification": "x"}, surface=sdk.common("a.b", "a_b")), "passthrough"),
        (lambda: broken(input_schema={"type": "object", "properties": {}}), "unknown fields must be refused"),
        (lambda: broken(input_schema={"type": "array"}), "are objects"),
        (lambda: broken(output_schema={"type": "object"}), "names its fields"),
        (lambda: broken(output_schema={"type": "objekt"}), "no JSON Schema"),
        (lambda: broken(output_schema={"type": "object", "properties": {"a": {"$ref": "https://e.com"}}}), "no JSON Schema"),
        (lambda: broken(output_schema={"type": "object", "properties": {"a": {"x-from": "a"}}}), "no JSON pointer"),
        (lambda: broken(output_schema={"type": "object", "properties": {"a": {"x-from": "/a", "x-const": 1}}}), "one place"),
        (lambda: broken(runtime_class="session"), "is direct"),
        (lambda: broken(scopes=["admin"]), "no auth profile offers all of admin"),
        (lambda: broken(pagination={"style": "link"}), "only a read over HTTP has pages"),
        (lambda: broken(effect="read", idempotency="natural", pagination={"style": "link", "cursor": "/a"}), "style cursor"),
        (lambda: broken(reconcile={"path": "/x"}), "nothing says what proves"),
        (lambda: broken(reconcile={"path": "/x", "gone": True, "match": {"/a": 1}}), "absence looks like"),
        (lambda: broken(reconcile={"path": "/x", "match": {"/a": "{input.nope}"}}), "names no field of the input"),
        (lambda: broken(reconcile={"path": "/x", "match": {"/a": "{input.repo|rot13}"}}), "no transformation"),
        (lambda: broken(reconcile={"path": "/x", "match": {"/a": "{now}"}}), "is none of"),
        (lambda: broken(reconcile={"path": "/x", "match": {"/a": 1}, "since": "/b"}), "belongs to a list"),
        (lambda: broken(reconcile={"path": "/x", "items": "", "match": {"/a": 1}, "newest_first": True}), "needs since"),
        (lambda: broken(reconcile={"path": "/x", "function": "a:b", "match": {"/a": 1}}), "one of path and function"),
        (lambda: broken(reconcile={"path": "/x", "match": {"/a": 1}, "output": {"q": "/a"}}), "output has no such field"),
        (lambda: broken(errors=[{"status": "40", "code": "auth_failed"}]), "errors[0].status"),
        (lambda: broken(operation_id="Bad Id"), "operation_id"),
        (lambda: http(method="GET"), "a GET reads"),
        (lambda: reads(method="POST"), "a POST writes; the effect is read (say `safe` if it only reads)"),
        (lambda: reads(method="PUT"), "a PUT writes"),
        (lambda: reads(method="PATCH"), "a PATCH writes"),
        (lambda: reads(method="DELETE"), "a DELETE writes"),
        (lambda: reads(method="DELETE", safe=True), "only a POST"),
        (lambda: reads(method="GET", safe=True), "only a POST"),
        (lambda: http(safe=True), "whose effect is read"),
        (lambda: http(path="https://evil.example"), "exactly one slash"),
        (lambda: http(path="//evil.example"), "exactly one slash"),
        (lambda: http(path="/a/../b"), "climbs"),
        (lambda: http(path="/a?b=c"), "must be escaped"),
        (lambda: http(path="/a/{repo"), "brace"),
        (lambda: http(path="/{body}"), "must be required"),
        (lambda: broken(reconcile={"path": "/{body}", "match": {"/a": 1}}), "must be required"),
        (lambda: broken(effect="read", reconcile={"path": "/x", "match": {"/a": 1}}), "nothing to reconcile"),
        (lambda: http(method="GET", constants={"a": 1}), "a GET has no body"),
        (lambda: http(local=["nope"]), "no such field"),
        (lambda: broken(pagination={"style": "cursor", "cursor": "a", "cursor_field": "nope"}), "no JSON pointer"),
        (lambda: broken(errors=[{"status": "404", "code": "auth_failed", "when": {"pointer": "a"}}]), "no JSON pointer"),
        (lambda: broken(output_schema={"type": "object", "properties": {"a": {"x-from": 1}}}), "a text is expected"),
        (lambda: broken(output_schema={"type": "object", "properties": {"a": {"x-path": "dots"}}}), "x-path: slashes"),
        (lambda: problems(auth=[{"profile_id": "t"}]), "there is no secret field (or say grant"),
        (lambda: problems(auth=[{"profile_id": "t"}]), "no request shows the credential"),
        (lambda: problems(auth=[sdk.token_profile(probe=sdk.probe("user", subject="/a"))]), "exactly one slash"),
        (lambda: http(headers={"Cookie": "a"}), "belongs to the credential"),
        (lambda: http(headers={"x": "a\tb\x01"}), "control character"),
        (lambda: http(query={"nope": "n"}), "no such field"),
        (lambda: http(encode={"repo": "rot13"}), "encode.repo"),
        (lambda: http(success=[404]), "success is 2xx"),
        (lambda: http(conditional=True), "only a GET"),
        (lambda: problems(operations=[], triggers=[]), "at least one operation or trigger"),
        (lambda: problems(operations=fix.operations()[:1] * 2), "stands here 2 times"),
        (lambda: problems(auth=[]), "at least one profile"),
        (lambda: problems(auth=[sdk.token_profile(template="Bearer {secret}", scopes=["repo"])]), "{secret} has no value here"),
        (lambda: problems(auth=[pair("Basic {user}:{secret}", "user", "secret")]), "what needs several"),
        (lambda: problems(auth=[pair("{user}", "user", "secret")]), "no request shows the secret field 'secret'"),
        (lambda: problems(auth=[pair("{secret} {secret}", "secret")]), "must name exactly one secret"),
        (lambda: problems(auth=[pair("Bearér {token}", "token")]), "cannot stand in a header"),
        (lambda: problems(auth=[pair(" {token}", "token")]), "cannot stand in a header"),
        (lambda: problems(auth=[pair("x" * 200 + "{token}", "token")]), "has 207 characters; the limit is 200"),
        (lambda: problems(auth=[pair("{" + "t" * 41 + "}", "t" * 41)]), "has 41 characters; the limit is 40"),
        (lambda: problems(auth=[sdk.token_profile(header="Host", scopes=["repo"])]), "belongs to the credential"),
        (lambda: problems(auth=[{**sdk.no_auth(), "scopes_offered": ["repo"]}]), "a profile without a grant has no"),
        (lambda: problems(base_url="https://a:b@example.com"), "holds no credential"),
        (lambda: problems(base_url="https://Example.com"), "a lower-case host"),
        (lambda: problems(base_url="https://example.com:0"), "perhaps a port"),
        (lambda: problems(base_url="https://example.com/a/../b"), "climbs"),
        (lambda: problems(base_url="https://example.com/a|b"), "must be escaped"),
        (lambda: problems(base_url="http://example.com"), "http only leads to this machine"),
        (lambda: problems(auth=[sdk.token_profile(header="Cookie", scopes=["repo"])]), "belongs to the credential"),
        (lambda: http(headers={"Keep-Alive": "a"}), "belongs to the credential"),
        (lambda: problems(runtime_classes=["stream"]), "the operations have direct"),
        (lambda: problems(errors=[4], operations=[4]), "errors[0]"),
        (lambda: problems(description=float("nan")), "nan is no number of JSON"),
    ],
)  # fmt: skip
def test_what_is_refused(found: Any, words: str) -> None:
    assert words in "\n".join(found())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"polling": None}, "poll triggers have it"),
        ({"polling": {"default_seconds": 1, "min_seconds": 2}}, "larger than"),
        ({"delivery": "webhook"}, "webhooks have it"),
        ({"verification": {"algorithm": "unsigned"}}, "needs a justification"),
        ({"verification": {"algorithm": "hmac_sha256"}}, "needs a header"),
        (
            {"verification": {"algorithm": "hmac_sha256", "header": "x", "secret_field": "hook"}},
            "has this secret field",
        ),
    ],
)
def test_what_is_refused_in_triggers(changes: dict[str, Any], words: str) -> None:
    schema: sdk.Schema = {"type": "object", "properties": {"a": {}}}
    draft = sdk.trigger("t", "poll", signal=schema, about="T.", polling={"default_seconds": 9, "min_seconds": 2})
    assert words in "\n".join(problems(triggers=[{**draft, **changes}]))


def test_a_write_settles_when_its_request_has_ended_unless_its_author_knows_better() -> None:
    def settled(**said: float) -> tuple[float | None, float]:
        draft = {**fix.operations()[0], **said}
        [made] = sdk.Connector(
            "acme",
            version="1.0.0",
            description="A",
            base_url="https://api.acme.dev",
            auth=[sdk.token_profile(scopes=["repo"])],
            operations=[draft],
        ).manifest.operations
        return made.settle_seconds, made.settled_after

    assert settled() == (None, 30)
    assert settled(timeout_seconds=5) == (None, 5)
    assert settled(settle_seconds=2) == (2, 2)
    assert settled(settle_seconds=0, timeout_seconds=5) == (0, 0)


def test_what_is_wrong_in_one_part_hides_nothing_in_others() -> None:
    one, two = fix.operations()[:2]
    twice = [{**one, "effect": "paint"}, {**two, "operation_id": one["operation_id"]}]
    found = "\n".join(problems(operations=twice, auth=[], version="one"))
    for words in (
        "stands here 2 times",
        "a connector has at least one profile",
        "must be a version such as 1.0.0",
        "effect",
    ):
        assert words in found, words
    assert "at least one operation or trigger" in "\n".join(problems(operations=[], triggers=[], version="one"))
