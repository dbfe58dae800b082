"""One suite for every place where a root key may lie; then what only services can do wrong."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from fix_roots import TOKEN, VAULT_KEY, Kms, Vault
from interlock import testing
from interlock.adapters import keys, sql
from interlock.adapters.keys import AwsKms, VaultTransit

pytestmark = pytest.mark.anyio

RAW = bytes(range(100, 132))


def vault_transit(vault: Vault, *, token: str = TOKEN, key: str = VAULT_KEY) -> VaultTransit:
    return VaultTransit(address=vault.url, key=key, token=lambda: token)


@pytest.fixture(params=["local", "vault-transit", "aws-kms"])
def root(request: pytest.FixtureRequest) -> keys.RootCipher:
    if request.param == "vault-transit":
        return vault_transit(request.getfixturevalue("vault"))
    if request.param == "aws-kms":
        kms: Kms = request.getfixturevalue("kms")
        return AwsKms(key=kms.arn, endpoint=kms.url)
    return keys.RootKey(bytes(range(32)), source="test")


async def test_what_is_wrapped_opens_again_and_shows_nothing(root: keys.RootCipher):
    wrapped, again = await root.wrap(RAW, aad=b"row"), await root.wrap(RAW, aad=b"row")
    assert await root.unwrap(wrapped, aad=b"row") == RAW
    assert wrapped != again
    assert RAW not in wrapped.ciphertext
    assert RAW.hex() not in repr(wrapped)
    assert 0 < len(root.root_id) <= 200
    assert root.source


async def test_what_was_moved_or_altered_does_not_open(root: keys.RootCipher):
    wrapped = await root.wrap(RAW, aad=b"row")
    last = wrapped.ciphertext[-9:]
    altered = wrapped.ciphertext[:-9] + bytes([last[0] ^ 1]) + last[1:]
    assert await root.unwrap(wrapped, aad=b"other row") is None
    assert await root.unwrap(keys.Wrapped(nonce=wrapped.nonce, ciphertext=altered), aad=b"row") is None


async def test_a_store_lives_under_it(root: keys.RootCipher, memory_store: sql.SqlStore):
    def ring() -> keys.Keyring:
        ids = testing.SequentialIds()
        return keys.Keyring(root, sql.KeyRecords(), memory_store, clock=testing.ManualClock(), ids=ids)

    sealed = await ring().seal("t1", b"plain", aad=b"row")
    assert await ring().open("t1", sealed, aad=b"row") == b"plain"


async def test_a_store_goes_over_to_a_service_and_back(memory_store: sql.SqlStore, vault: Vault, kms: Kms):
    clock, ids = testing.ManualClock(), testing.SequentialIds()
    local = keys.RootKey(bytes(range(32)), source="test")
    places: list[keys.RootCipher] = [local, vault_transit(vault), AwsKms(key=kms.arn, endpoint=kms.url), local]

    def ring(root: keys.RootCipher, *former: keys.RootCipher) -> keys.Keyring:
        return keys.Keyring(root, sql.KeyRecords(), memory_store, clock=clock, ids=ids, former=former)

    sealed = await ring(local).seal("t1", b"plain", aad=b"row")
    for before, after in itertools.pairwise(places):
        assert await ring(after, before).rewrap() == 1
        assert await ring(after).open("t1", sealed, aad=b"row") == b"plain"
        with pytest.raises(keys.WrongKey, match=after.root_id):
            await ring(before).open("t1", sealed, aad=b"row")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((503, b'{"errors": ["Vault is sealed"]}'), keys.RootUnavailable),
        ((429, b"{}"), keys.RootUnavailable),
        ((500, b"<html>oops</html>"), keys.RootUnavailable),
        ((200, b"<html>welcome</html>"), keys.RootUnavailable),
        ((200, b'{"data": {"ciphertext": 7, "plaintext": "no base64"}}'), keys.RootUnavailable),
        ((307, b""), keys.RootUnavailable),
        ((403, b'{"errors": ["permission denied"]}'), keys.RootRefused),
        ((404, b'{"errors": []}'), keys.RootRefused),
    ],
)
async def test_what_vault_answers_instead(vault: Vault, answer: tuple[int, bytes], error: type[Exception]):
    root = vault_transit(vault)
    wrapped = await root.wrap(RAW, aad=b"")
    vault.answer = answer
    with pytest.raises(error) as caught:
        await root.wrap(RAW, aad=b"")
    with pytest.raises(error):
        await root.unwrap(wrapped, aad=b"")
    assert TOKEN not in str(caught.value)


async def test_an_altered_ciphertext_is_told_by_500_in_some_versions_of_vault(vault: Vault):
    root = vault_transit(vault)
    wrapped = await root.wrap(RAW, aad=b"")
    vault.answer = (500, b'{"errors": ["1 error occurred:\\n\\t* cipher: message authentication failed\\n\\n"]}')
    assert await root.unwrap(wrapped, aad=b"") is None


async def test_vault_is_asked_with_the_token_of_the_moment_and_the_namespace(vault: Vault):
    tokens = iter(["old", TOKEN])
    root = VaultTransit(address=vault.url, key=VAULT_KEY, token=lambda: next(tokens), namespace="team/a")
    with pytest.raises(keys.RootRefused):
        await root.wrap(RAW, aad=b"")
    await root.wrap(RAW, aad=b"")
    path, headers = vault.asked[-1]
    assert path == "/v1/transit/encrypt/interlock"
    assert (headers["x-vault-token"], headers["x-vault-namespace"]) == (TOKEN, "team/a")
    assert root.root_id == "vault:team/a/transit/interlock"


async def test_vault_is_asked_once_for_each_key(vault: Vault, memory_store: sql.SqlStore):
    ids = testing.SequentialIds()
    ring = keys.Keyring(vault_transit(vault), sql.KeyRecords(), memory_store, clock=testing.ManualClock(), ids=ids)
    sealed = await ring.seal("t1", b"plain", aad=b"")
    await ring.take_signer()
    assert len(await ring.public_keys()) == 1
    assert len(vault.asked) == 5  # two keys wrapped, and unwrapped: the signing key to sign, and for its public half
    vault.answer = (503, b"{}")
    assert await ring.open("t1", sealed, aad=b"") == b"plain"
    assert await ring.seal("t1", b"plain", aad=b"") != sealed
    await ring.take_signer()
    assert len(await ring.public_keys()) == 1
    assert len(vault.asked) == 5


async def test_a_key_that_vault_does_not_have(vault: Vault):
    with pytest.raises(keys.RootRefused, match="transit/other"):
        await vault_transit(vault, key="transit/other").wrap(RAW, aad=b"")


async def test_services_that_are_not_there(vault: Vault, kms: Kms):
    gone = VaultTransit(address="http://127.0.0.1:1", key=VAULT_KEY, token=lambda: TOKEN)
    with pytest.raises(keys.RootUnavailable, match=r"127\.0\.0\.1:1"):
        await gone.wrap(RAW, aad=b"")
    with pytest.raises(keys.RootUnavailable):
        await AwsKms(key=kms.arn, endpoint="http://127.0.0.1:1").wrap(RAW, aad=b"")


async def test_a_key_that_kms_does_not_have(kms: Kms):
    other = AwsKms(key=f"{kms.arn[:-4]}0000", endpoint=kms.url)
    with pytest.raises(keys.RootRefused, match="NotFoundException"):
        await other.wrap(RAW, aad=b"")


async def test_kms_without_credentials(kms: Kms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(keys.RootRefused, match="no credentials"):
        await AwsKms(key=kms.arn, endpoint=kms.url).wrap(RAW, aad=b"")


@pytest.mark.parametrize(
    "make",
    [
        lambda: VaultTransit(address="http://vault.example:8200", key=VAULT_KEY, token=lambda: TOKEN),
        lambda: VaultTransit(address="vault.example", key=VAULT_KEY, token=lambda: TOKEN),
        lambda: AwsKms(key="alias/interlock"),
        lambda: AwsKms(key="arn:aws:kms:eu-central-1:123456789012:alias/interlock"),
    ],
)
async def test_what_names_no_key_is_refused(make: Callable[[], keys.RootCipher]):
    with pytest.raises(keys.KeyInvalid):
        make()
