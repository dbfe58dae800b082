"""A process that needs a connection's credential, in several threads at once: `python refreshing_worker.py URL SERVER THREADS`.
It says `ready`, waits for a line, and then says with what each thread ended."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import auth_server as auth
from fix_connector import connector
from interlock import sdk
from interlock.app import Settings
from interlock.app.settings import ExecutionSettings, OAuthSettings
from interlock.kernel import InterlockError
from interlock.sync import Interlock


def opening(url: str, server: str) -> dict[str, Any]:
    """How to open an Interlock that can connect to that server."""
    draft = sdk.oauth2(authorize_url="/authorize", token_url="/token", issuer=server, base_url=server, scopes=["repo"])
    settings = Settings(
        store=url,
        execution=ExecutionSettings(egress_allow=(urlsplit(server).netloc,)),
        oauth={"acme": OAuthSettings(client_id=auth.CLIENT.client_id, client_secret_env="ACME_SECRET")},
    )
    return {"settings": settings, "connectors": [connector(auth=[draft]).manifest], "background": False}


def main(url: str, server: str, threads: int) -> None:
    with Interlock.open(**opening(url, server)) as il:

        def use(_: int) -> str:
            try:
                lease = il.connections.leases.request("acme")
                (host,) = lease.hosts
                return il.connections.leases.redeem(lease.lease_id, "access_token", host=host).reveal()
            except InterlockError as error:
                return error.code

        print("ready", flush=True)
        sys.stdin.readline()
        with ThreadPoolExecutor(threads) as pool:
            ended = list(pool.map(use, range(threads)))
    print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
