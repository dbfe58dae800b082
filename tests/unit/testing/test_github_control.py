"""What a test sees of a service that is gone."""

import socket
import threading

import pytest

from interlock import kernel
from interlock.testing import github

HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\n"


@pytest.mark.parametrize(
    "said", [b"", HEAD, HEAD + b"\r\n", HEAD + b"\r\n{", HEAD + b"content-length: 9\r\n\r\n{"], ids=range(5)
)
def test_a_service_that_stops_before_it_has_answered_is_an_os_error(said: bytes):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def stop() -> None:
            with listener.accept()[0] as theirs:
                theirs.recv(65_536)
                theirs.sendall(said)

        server = threading.Thread(target=stop)
        server.start()
        control = github.Control(f"http://127.0.0.1:{listener.getsockname()[1]}", kernel.Secret("a-secret-of-tests"))
        with pytest.raises(OSError, match=r"wait_held|reset"):
            control.wait_held()
        server.join()
