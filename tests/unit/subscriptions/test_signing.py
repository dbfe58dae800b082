"""What leaves is signed as Standard Webhooks says: by its published vectors, and as its own library checks it."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from interlock.kernel import Secret
from interlock.subscriptions import Scheme, headers, signing

ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), b'{"test": 2432232314}'
SECRET = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
PRIVATE = Secret("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==")
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


@pytest.mark.parametrize(
    ("keys", "signature"), [((SECRET,), V1), ((PRIVATE,), V1A), ((SECRET, PRIVATE), f"{V1} {V1A}")]
)
def test_the_published_vectors(keys: tuple[Secret, ...], signature: str):
    assert dict(headers(keys, message_id=ID, at=AT, body=BODY)) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": signature,
    }


def test_the_public_half_is_what_receivers_are_told():
    assert signing.public_key(PRIVATE) == PUBLIC
    assert signing.public_key(SECRET) is None


def test_their_library_takes_what_we_sign_and_nothing_else():
    old, new = (signing.new_key(Scheme.HMAC, lambda size, fill=fill: fill * size) for fill in (b"o", b"n"))
    now = datetime.now(UTC)
    both = dict(headers([new, old], message_id="msg_1", at=now, body=BODY))
    for key in (old, new):
        assert Webhook(key.reveal()).verify(BODY, both) == {"test": 2432232314}
    alone = dict(headers([new], message_id="msg_1", at=now, body=BODY))
    stale = dict(headers([new], message_id="msg_1", at=now - timedelta(minutes=6), body=BODY))
    for key, body, told in (
        (old, BODY, alone),
        (new, BODY + b" ", alone),
        (new, BODY, alone | {"webhook-id": "msg_2"}),
        (new, BODY, stale),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(key.reveal()).verify(body, told)


def test_a_new_asymmetric_key_signs_what_its_public_half_checks():
    key = signing.new_key(Scheme.ED25519, lambda size: b"k" * size)
    told, public = dict(headers([key], message_id="msg_1", at=AT, body=BODY)), signing.public_key(key)
    assert public is not None
    checks = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    signature = base64.b64decode(told["webhook-signature"].removeprefix("v1a,"))
    checks.verify(signature, b"msg_1.1614265330." + BODY)
    with pytest.raises(InvalidSignature):
        checks.verify(signature, b"msg_1.1614265331." + BODY)
