"""How secrets become bytes and come back."""

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import connections
from interlock.connections import sealing
from interlock.kernel import Secret

texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), texts))
def test_what_is_packed_comes_back(values: dict[str, str]):
    packed = sealing.pack({name: Secret(value) for name, value in values.items()})
    opened = sealing.unpack(packed, tuple(values))
    assert {name: secret.reveal() for name, secret in opened.items()} == values


@pytest.mark.parametrize("plaintext", [b"", b"tok-very-secret", b'{"other":"tok-very-secret"}', b'{"token":5}'])
def test_anything_else_is_damage_and_is_not_quoted(plaintext: bytes):
    with pytest.raises(connections.CredentialDamaged) as caught:
        sealing.unpack(plaintext, ("token",))
    assert "tok-very-secret" not in "".join(traceback.format_exception(caught.value))


def test_the_binding_names_every_part_of_the_row():
    def binding(
        tenant_id: str = "t",
        connection_id: str = "c",
        credential_id: str = "d",
        version: int = 1,
        fields: tuple[str, ...] = ("a",),
    ) -> bytes:
        return sealing.binding(
            tenant_id=tenant_id,
            connection_id=connection_id,
            credential_id=credential_id,
            version=version,
            fields=fields,
        )

    others = [
        binding("x"),
        binding("t", "x"),
        binding(credential_id="x"),
        binding(version=2),
        binding(fields=("a", "b")),
    ]
    assert len({binding(), *others}) == 6
