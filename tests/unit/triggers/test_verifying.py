"""Every scheme's signed requests are taken, and whatever else comes under their name is not."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interlock import sdk
from interlock.kernel import Secret, digest_bytes
from interlock.triggers.webhooks import Incoming, Reason, Refused, UnreadableKey, Verified, Verifier
from interlock.triggers.webhooks.verifying import id_key
from vectors import DATED, SIGNED, VECTORS, Vector

of_all = pytest.mark.parametrize("vector", VECTORS, ids=lambda each: each.name)
of_signed = pytest.mark.parametrize("vector", SIGNED, ids=lambda each: each.name)
of_dated = pytest.mark.parametrize("vector", DATED, ids=lambda each: each.name)


def refusal(found: Verified | Refused) -> Reason:
    assert isinstance(found, Refused), found
    return found.reason


def test_every_scheme_has_a_vector():
    tried = {json.dumps(each.verification.model_dump(mode="json"), sort_keys=True) for each in VECTORS}
    named = {name: json.dumps(sdk.scheme(name).model_dump(mode="json"), sort_keys=True) for name in sdk.schemes()}
    assert not [name for name, said in named.items() if said not in tried]
    assert {each.verification.algorithm for each in VECTORS} == {
        "hmac_sha1", "hmac_sha256", "hmac_sha512", "sha256", "ed25519", "ecdsa_p256", "jwt", "token", "basic",
    }  # fmt: skip


@pytest.mark.parametrize("name", sdk.schemes())
def test_no_scheme_contradicts_itself(name: str):
    assert not list(sdk.verification_problems(name, sdk.scheme(name)))


@of_all
def test_what_the_service_signed_is_taken(vector: Vector):
    found = vector.verify()
    assert isinstance(found, Verified), found
    assert (found.delivery_id, found.key_number) == (vector.delivery_id, 0)
    covered = vector.verification.covers_id and vector.delivery_id is not None
    assert found.dedupe_key == (id_key(str(vector.delivery_id)) if covered else found.digest)
    assert (found.signed_at is not None) == (vector.verification.timestamp is not None)


@of_all
def test_under_another_secret_it_is_not(vector: Vector):
    assert refusal(vector.verify(secrets=[other(vector)])) is Reason.BAD_SIGNATURE


@of_all
def test_while_a_secret_is_replaced_both_count(vector: Vector):
    found = vector.verify(secrets=[other(vector), vector.secret])
    assert isinstance(found, Verified)
    assert found.key_number == 1


@of_all
def test_without_a_secret_nothing_is(vector: Vector):
    found = Verifier(vector.verification, []).verify(vector.request(), now=vector.at)
    assert refusal(found) is Reason.KEYLESS


@of_signed
@pytest.mark.parametrize("change", [b"!", b" ", b"\n", b"\0"])
def test_a_body_that_was_changed_is_forged(vector: Vector, change: bytes):
    if vector.verification.holes & {"form"} and not vector.body.startswith(b"{"):
        change = b"&x=1"  # what is no form any more is refused for that
    elif change == b"!":
        assert refusal(vector.but(body=b"!" + vector.body[1:]).verify()) is Reason.BAD_SIGNATURE
    assert refusal(vector.but(body=vector.body + change).verify()) is Reason.BAD_SIGNATURE


@of_signed
def test_a_body_that_was_read_and_written_again_is_forged(vector: Vector):
    try:
        again = json.dumps(json.loads(vector.body), separators=(", ", " : ")).encode()
    except ValueError:
        again = vector.body.replace(b"=", b"%3D")
    if again != vector.body:
        assert refusal(vector.but(body=again).verify()) in {Reason.BAD_SIGNATURE, Reason.MALFORMED}


@of_signed
def test_each_part_of_the_signature_counts(vector: Vector):
    name = vector.header(vector.verification.header)
    whole = vector.headers[name]

    def changed(at: int) -> Vector:
        return vector.with_header(name, whole[:at] + ("A" if whole[at].upper() != "A" else "B") + whole[at + 1 :])

    taken = [at for at in range(len(whole)) if isinstance(changed(at).verify(), Verified)]
    # Another entry of a list may be the wrong one already, and the last letter of base64 may hold bits of no byte.
    assert len(taken) <= (70 if "," in whole else 1), [whole[at] for at in taken]


@of_all
def test_without_a_header_that_is_needed_it_is_refused(vector: Vector):
    proof = vector.verification
    names = {proof.header, proof.timestamp.header if proof.timestamp else None}
    names |= {proof.delivery_id.header} if proof.delivery_id and "id" in proof.holes else set()
    for name in names - {None}:
        assert refusal(vector.with_header(name, None).verify()) is Reason.MISSING_HEADER
        assert refusal(vector.with_header(name, "").verify()) is Reason.MISSING_HEADER


@of_all
def test_a_header_that_counts_stands_once(vector: Vector):
    for name in {
        vector.verification.header,
        vector.verification.timestamp.header if vector.verification.timestamp else None,
    }:
        if name is None:
            continue
        request = vector.request()
        doubled = Incoming(
            method=request.method,
            url=request.url,
            headers=(*request.headers, (name.lower(), "x")),
            body=request.body,
        )
        found = Verifier(vector.verification, [Secret(vector.secret)]).verify(doubled, now=vector.at)
        assert refusal(found) is Reason.REPEATED_HEADER


@of_dated
def test_what_is_too_old_or_too_new_is_refused(vector: Vector):
    assert vector.verification.timestamp is not None
    tolerance = vector.verification.timestamp.tolerance_seconds
    for late, reason in ((tolerance + 1, Reason.STALE), (-tolerance - 1, Reason.FUTURE)):
        assert refusal(vector.verify(late=late)) is reason
    for late in (tolerance, -tolerance):
        assert isinstance(vector.verify(late=late), Verified)


@of_dated
def test_another_moment_breaks_the_signature(vector: Vector):
    place = vector.verification.timestamp
    assert place is not None
    if place.header is not None:
        later = vector.headers[vector.header(place.header)].replace("0", "1", 1)
        assert refusal(vector.with_header(place.header, later).verify()) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("text", ["hello", "-1", "1_0", " 1", "1.5", "١٢", "9" * 17, "0x10", "1e9", "+1"])
def test_a_moment_that_is_none_is_refused(text: str):
    raw = text.encode("latin-1", "replace")
    signature = hmac.new(b"s3cret-s3cret", b"v0:" + raw + b":x", hashlib.sha256).hexdigest()
    headers = (("x-slack-signature", f"v0={signature}"), ("x-slack-request-timestamp", raw.decode("latin-1")))
    request = Incoming(method="POST", url="", headers=headers, body=b"x")
    found = Verifier(sdk.scheme("slack"), [Secret("s3cret-s3cret")]).verify(request, now=VECTORS[0].at)
    assert refusal(found) in {Reason.BAD_TIMESTAMP, Reason.STALE, Reason.BAD_SIGNATURE}


STANDARD = next(each for each in VECTORS if each.name.startswith("standard_webhooks-"))
GOOD = STANDARD.headers["webhook-signature"]


@pytest.mark.parametrize(
    ("signatures", "reason"),
    [
        (f"v1,bad v2,x {GOOD} v1,bad", None),
        (f"{GOOD} {GOOD}", None),
        (GOOD[:-2] + "A=", Reason.BAD_SIGNATURE),
        ("v1,", Reason.MALFORMED),
        ("v1", Reason.MALFORMED),
        ("nonsense", Reason.MALFORMED),
        (GOOD.replace("v1,", "v1a,"), Reason.MALFORMED),
        (GOOD.replace("v1,", "V1,"), Reason.MALFORMED),
        (" ".join([GOOD] * 21), Reason.MALFORMED),
        (GOOD.removeprefix("v1,"), Reason.MALFORMED),
    ],
)
def test_lists_of_signatures(signatures: str, reason: Reason | None):
    found = STANDARD.with_header("webhook-signature", signatures).verify()
    assert (found.reason if isinstance(found, Refused) else None) is reason


STRIPE = next(each for each in VECTORS if each.name.startswith("stripe-"))
PAIRS = STRIPE.headers["Stripe-Signature"]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (PAIRS.replace("v1=", "v1=00,v1="), None),
        (" , ".join(PAIRS.split(",")), None),
        (PAIRS.replace("v1=", "v0="), Reason.MALFORMED),
        (PAIRS + ",t=1", Reason.MALFORMED),
        (PAIRS.partition(",")[2], Reason.MALFORMED),
        (PAIRS.replace("t=", "t=0"), Reason.BAD_SIGNATURE),
        ("t", Reason.MALFORMED),
        (",,,", Reason.MALFORMED),
    ],
)
def test_pairs(header: str, reason: Reason | None):
    found = STRIPE.with_header("Stripe-Signature", header).verify()
    assert (found.reason if isinstance(found, Refused) else None) is reason


def test_the_id_of_what_is_signed_tells_deliveries_apart_and_an_unsigned_one_does_not():
    github = next(each for each in VECTORS if each.name.startswith("github-"))
    once, again = github.verify(), github.with_header("X-GitHub-Delivery", "another").verify()
    assert isinstance(once, Verified)
    assert isinstance(again, Verified)
    assert (again.delivery_id, again.dedupe_key) == ("another", once.dedupe_key)
    assert once.dedupe_key == digest_bytes(github.body)


@pytest.mark.parametrize("told", ["", "x" * 256, "a b", "é", "a\x7f"])
def test_an_id_that_cannot_be_kept_is_none(told: str):
    github = next(each for each in VECTORS if each.name.startswith("github-"))
    found = github.with_header("X-GitHub-Delivery", told).verify()
    assert isinstance(found, Verified)
    assert found.delivery_id is None


def test_what_a_service_signs_of_a_form_is_refused_where_the_body_is_none():
    twilio = next(each for each in VECTORS if each.name.startswith("twilio-"))
    as_json = twilio.with_header("Content-Type", "application/json").but(body=b'{"CallSid":"CA1"}')
    assert refusal(as_json.verify()) is Reason.MALFORMED


AS_JSON = next(each for each in VECTORS if each.name.startswith("twilio-") and each.body.startswith(b"{"))


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"body": b""}, "application/json", Reason.BAD_SIGNATURE),
        ({"body": b""}, None, Reason.BAD_SIGNATURE),
        ({}, FORM, Reason.BAD_SIGNATURE),
        ({"body": b"a=b"}, FORM, Reason.BAD_SIGNATURE),
        ({"url": AS_JSON.url.replace("bodySHA256", "other")}, "application/json", Reason.MALFORMED),
        ({"url": AS_JSON.url + "&bodySHA256=00"}, "application/json", Reason.MALFORMED),
        ({"url": AS_JSON.url.replace("foo=1", "foo=2")}, "application/json", Reason.BAD_SIGNATURE),
        ({}, None, None),
    ],
)
def test_a_digest_in_the_url_is_the_bodys(changes: dict[str, object], kind: str | None, reason: Reason | None):
    found = AS_JSON.but(**changes).with_header("Content-Type", kind).verify()
    assert (found.reason if isinstance(found, Refused) else None) is reason


def test_every_element_shows_the_token():
    graph = next(each for each in VECTORS if each.name.startswith("microsoft_graph-"))
    right: dict[str, object] = {"clientState": graph.secret}
    shown: list[list[object]] = [[right, {"clientState": "other"}], [right, {}], [right, {"clientState": 7}], []]
    for body in (*({"value": each} for each in shown), dict[str, object]()):
        assert isinstance(graph.but(body=json.dumps(body).encode()).verify(), Refused)


JWT = next(each for each in VECTORS if each.name.startswith("google_pubsub-"))


def google(vector: Vector, **claims: object) -> Vector:
    return vector.but(verification=sdk.scheme("google_pubsub", claims=claims))


CHANGES: list[Callable[[Vector], Vector]] = [
    lambda each: each.but(url="https://hooks.acme.dev/hooks/other"),
    lambda each: each.but(at=each.at + timedelta(hours=2)),
    lambda each: google(each, issuers=["https://other.dev"]),
    lambda each: google(each, issuers=["https://accounts.google.com"], equal={"email": "x@y.z"}),
    lambda each: google(each, issuers=["https://accounts.google.com"], algorithms=["ES256"]),
    lambda each: each.with_header("Authorization", each.headers["Authorization"][:-4] + "AAAA"),
    lambda each: each.with_header("Authorization", unsigned(each.headers["Authorization"])),
    lambda each: each.with_header("Authorization", "Bearer nonsense"),
    lambda each: each.with_header("Authorization", "Bearer a.b.c"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_token_says_who_for_whom_and_until_when(change: Callable[[Vector], Vector]):
    assert refusal(change(JWT).verify()) is Reason.BAD_SIGNATURE


def unsigned(header: str) -> str:
    """The token of a header with the algorithm that signs nothing."""
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"Bearer {head}.{header.split('.')[1]}."


@pytest.mark.parametrize(
    ("scheme", "secret"),
    [
        ("standard_webhooks", ""),
        ("standard_webhooks", "whsec_"),
        ("standard_webhooks", "whsec_!!"),
        ("discord", "00"),
        ("discord", "xyz"),
        ("sendgrid", "AAAA"),
        ("sendgrid", "-----BEGIN PUBLIC KEY-----"),
        ("google_pubsub", "{}"),
        ("google_pubsub", "[]"),
        ("google_pubsub", "nonsense"),
        ("github", "  "),
    ],
)
def test_a_secret_that_is_not_written_as_it_should_be(scheme: str, secret: str):
    with pytest.raises(UnreadableKey) as raised:
        Verifier(sdk.scheme(scheme), [Secret(secret)])
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert len(secret) < 8 or secret not in str(raised.value)


def test_a_secret_may_lack_prefix_and_padding():
    for secret in ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", " whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"):
        assert isinstance(STANDARD.verify(secrets=[secret]), Verified)


def test_a_key_on_another_curve_is_none():
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    written = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(UnreadableKey):
        Verifier(sdk.scheme("sendgrid"), [Secret(written.decode())])


def test_an_unsigned_delivery_is_told_by_its_content():
    named = sdk.DeliveryId(header="x-id")
    proof = sdk.Verification(algorithm="unsigned", justification="it signs nothing", delivery_id=named)
    request = Incoming(method="POST", url="", headers=(("x-id", "7"),), body=b"{}")
    found = Verifier(proof, []).verify(request, now=VECTORS[0].at)
    assert isinstance(found, Verified)
    assert (found.delivery_id, found.dedupe_key) == ("7", digest_bytes(b"{}"))


def other(vector: Vector) -> str:
    """A secret of the same form that is another one."""
    match vector.verification.key:
        case "whpk" | "spki" | "jwks":
            return _OTHERS[vector.verification.key]
        case "hex" if vector.verification.algorithm == "ed25519":
            return "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        case "hex":
            return "00" * 20
        case _:
            return "b3RoZXItc2VjcmV0LTAxMjM0NTY3"


_MODULUS = base64.urlsafe_b64encode(b"\xc1" + b"\x5a" * 254 + b"\x01").rstrip(b"=").decode()
_OTHERS = {
    "whpk": "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "spki": (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBo"
        "N79R9Q=="
    ),
    "jwks": json.dumps({"keys": [{"kty": "RSA", "kid": "g1", "alg": "RS256", "e": "AQAB", "n": _MODULUS}]}),
}
