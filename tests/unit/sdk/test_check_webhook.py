"""What contradicts itself in how webhooks are told and proven is told, and a scheme leaves no trace."""

from typing import Any

import pytest

from interlock import sdk

HEADER = {"algorithm": "hmac_sha256", "header": "x-signature"}


def declared(verification: dict[str, Any], **trigger: Any) -> sdk.Manifest:
    return sdk.Connector(
        "hub",
        version="1.0.0",
        description="Reports.",
        base_url="https://api.hub.dev",
        auth=[sdk.no_auth()],
        triggers=[
            sdk.trigger(
                "changed",
                "webhook",
                signal={"type": "object", "properties": {}},
                about="It changed.",
                verification=verification,
                **trigger,
            )
        ],
    ).manifest


def test_a_scheme_is_spelled_out():
    named, told = declared({"scheme": "stripe"}), declared(dict(sdk.schemes()["stripe"]))
    assert named.digest == told.digest
    assert "scheme" not in str(named.to_json())
    other = declared({"scheme": "stripe", "timestamp": {"pair": "t", "tolerance_seconds": 60}}).triggers[0]
    assert other.verification is not None
    assert other.verification.timestamp is not None
    assert other.verification.timestamp.tolerance_seconds == 60


def test_what_was_declared_before_has_the_digest_that_it_had():
    before = {**HEADER, "prefix": "sha256="}
    assert declared(before).to_json()["triggers"] == [
        {
            "trigger_id": "changed",
            "display_name": "Changed",
            "description": "It changed.",
            "delivery": "webhook",
            "signal_schema": {"type": "object", "properties": {}},
            "verification": before,
        }
    ]


@pytest.mark.parametrize(
    ("verification", "says"),
    [
        ({"scheme": "nobody"}, "there is no scheme 'nobody'"),
        ({**HEADER, "pointer": "/token"}, "needs a header, and no pointer"),
        ({"algorithm": "token"}, "it needs one of header, pointer"),
        ({"algorithm": "token", "pointer": "token"}, "no JSON pointer"),
        ({**HEADER, "key": "jwks"}, "the key of hmac_sha256 is one of base64, hex, text, whsec"),
        ({**HEADER, "algorithm": "ed25519"}, "the key of ed25519 is one of base64, hex, whpk"),
        ({**HEADER, "algorithm": "jwt", "key": "jwks"}, "a jwt has them"),
        (
            {**HEADER, "algorithm": "jwt", "key": "jwks", "claims": {"issuers": ["x"], "keys_url": "http://x.dev/k"}},
            "it is an address with https",
        ),
        *(
            (
                {**HEADER, "algorithm": "jwt", "key": "jwks", "claims": {"issuers": ["x"], "keys_url": url}},
                f"no address: {url}",
            )
            for url in ("http://[", "https://[", "https://x.dev:99999/k", "https:///k")
        ),
        ({**HEADER, "claims": {"issuers": ["x"]}}, "a jwt has them, and nothing else"),
        ({**HEADER, "shape": "list"}, "a list needs it"),
        ({**HEADER, "content": "{url}"}, "proves nothing of the body"),
        ({**HEADER, "content": "{bdoy}{body}"}, "{bdoy} is not known"),
        (
            {**HEADER, "content": "{id}{body}", "delivery_id": {"pointer": "/id"}},
            "{id} needs a delivery_id in a header",
        ),
        ({**HEADER, "timestamp": {"header": "x-time"}}, "anybody could change it"),
        ({**HEADER, "content": "{timestamp}{body}", "timestamp": {"pair": "t"}}, "only a header of pairs has it"),
        ({**HEADER, "delivery_id": {}}, "it needs one of header, pointer"),
        ({**HEADER, "handshake": {}}, "it needs one of parameter, when, secret_header, secret_pointer"),
        ({**HEADER, "handshake": {"parameter": "x", "reply": {"a": {"value": 1}}}}, "is answered by `reply`"),
        ({**HEADER, "digest_parameter": "sha"}, "does not hold {url} and {form}"),
        ({**HEADER, "handshake": {"secret_header": "x-secret"}}, "nothing is signed before there is a secret"),
        ({**HEADER, "handshake": {"when": {"/a": 1}, "reply": {"b": {}}}}, "one of value, pointer and hmac_of"),
    ],
)
def test_a_verification_that_contradicts_itself(verification: dict[str, Any], says: str):
    with pytest.raises(sdk.InvalidManifest) as raised:
        declared(verification)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("trigger", "says"),
    [
        ({"event": {"values": ["a"]}}, "it needs one of header, pointer"),
        ({"event": {"header": "x", "values": []}}, "at least one value"),
        ({"filters": {"repo": "/repo"}}, "the config has no such field"),
        ({"retry": {"base_seconds": 10, "cap_seconds": 1}}, "base_seconds is larger than cap_seconds"),
        ({"retry": {"max_attempts": 0}}, "greater than or equal to 1"),
    ],
)
def test_a_trigger_that_contradicts_itself(trigger: dict[str, Any], says: str):
    with pytest.raises(sdk.InvalidManifest) as raised:
        declared(HEADER, **trigger)
    assert says in str(raised.value)
