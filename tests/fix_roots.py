"""Services that hold a root key, as far as they run here: each on loopback, with real encryption.

HashiCorp Vault is played by a stand-in of ours, which does what its transit engine documents; AWS KMS by `moto`, which others
made. Neither is the real service.
"""

import base64
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "hvs.stand-in-for-vault"
VAULT_KEY = "transit/interlock"


@dataclass
class Vault:
    """A stand-in for Vault's transit engine, with one key."""

    url: str = ""
    key: bytes = field(default_factory=lambda: AESGCM.generate_key(256))
    answer: tuple[int, bytes] | None = None
    """What it answers to everything instead, if it is out of order."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])
    """Paths and headers."""

    def reply(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.asked.append((path, headers))
        if headers.get("x-vault-token") != TOKEN:
            return 403, {"errors": ["permission denied"]}
        _, _, mount, verb, name = path.split("/")
        if mount != "transit" or verb not in {"encrypt", "decrypt"}:
            return 404, {"errors": [f'no handler for route "{mount}/{verb}/{name}". route entry not found.']}
        if name != "interlock":
            return 400, {"errors": ["encryption key not found"]}
        try:
            return 200, {"data": getattr(self, f"_{verb}")(json.loads(body))}
        except InvalidTag:
            return 400, {"errors": ["cipher: message authentication failed"]}
        except ValueError:
            return 400, {"errors": ["invalid ciphertext: could not decode"]}

    def _encrypt(self, given: dict[str, str]) -> dict[str, Any]:
        nonce = os.urandom(12)
        sealed = nonce + AESGCM(self.key).encrypt(nonce, base64.b64decode(given["plaintext"]), None)
        return {"ciphertext": f"vault:v1:{base64.b64encode(sealed).decode()}", "key_version": 1}

    def _decrypt(self, given: dict[str, str]) -> dict[str, Any]:
        _, version, text = given["ciphertext"].split(":")
        sealed = base64.b64decode(text, validate=True)
        if version != "v1":
            raise ValueError
        return {"plaintext": base64.b64encode(AESGCM(self.key).decrypt(sealed[:12], sealed[12:], None)).decode()}


@pytest.fixture
def vault() -> Iterator[Vault]:
    played = Vault()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, document = played.reply(self.path, headers, body)
            content = json.dumps(document).encode()
            if played.answer is not None:
                status, content = played.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        played.url = f"http://127.0.0.1:{server.server_port}"
        yield played
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Kms:
    """AWS KMS, played by moto, with one key."""

    url: str
    arn: str


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def kms(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Kms:
    from botocore import session

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client: Any = session.get_session().create_client("kms", region_name="eu-central-1", endpoint_url=moto_url)
    return Kms(url=moto_url, arn=client.create_key()["KeyMetadata"]["Arn"])
