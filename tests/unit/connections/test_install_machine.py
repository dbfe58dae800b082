"""The machine of an install's states: every step by itself, and any walk."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fix_connections import INSTALL, NOW
from interlock import connections
from interlock.connections import (
    INSTALL_LIFE,
    Flow,
    Found,
    Install,
    InstallState,
    Reason,
    Sealed,
    install_machine,
    installs,
)
from interlock.kernel import canonical

SEALED = Sealed(key_id="key_1", nonce=b"n", ciphertext=b"c")
FOUND = Found(subject="octo", scopes=frozenset({"read"}), expires_at=None)
URI = "http://127.0.0.1:7/callback"
LATER = NOW + timedelta(seconds=5)


def awaiting(install: Install = INSTALL) -> Install:
    return install_machine.await_callback(
        install,
        state_digest="sha256:state",
        browser_digest="sha256:browser",
        redirect_uri=URI,
        issuer=None,
        sealed=SEALED,
        at=LATER,
    )


def proven() -> Install:
    return install_machine.prove(install_machine.begin_exchange(awaiting(), at=LATER), FOUND, SEALED, at=LATER)


STEPS: dict[str, Callable[[Install], Install]] = {
    "await": awaiting,
    "exchange": lambda install: install_machine.begin_exchange(install, at=LATER),
    "wait": lambda install: install_machine.wait_longer(install, at=LATER),
    "prove": lambda install: install_machine.prove(install, FOUND, SEALED, at=LATER),
    "complete": lambda install: install_machine.complete(install, "con_1", at=LATER),
}
MAY = {
    Flow.AUTHORIZATION_CODE: {
        InstallState.INSTALLING: {"await"},
        InstallState.AWAITING_CALLBACK: {"exchange"},
        InstallState.EXCHANGING: {"prove"},
        InstallState.PROVEN: {"complete"},
    },
    Flow.DEVICE: {
        InstallState.INSTALLING: {"await"},
        InstallState.AWAITING_CALLBACK: {"exchange"},
        InstallState.EXCHANGING: {"prove", "wait"},
        InstallState.PROVEN: {"complete"},
    },
    Flow.AUTOMATIC: {
        InstallState.INSTALLING: {"exchange"},
        InstallState.EXCHANGING: {"prove"},
        InstallState.PROVEN: {"complete"},
    },
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", InstallState)
@pytest.mark.parametrize("flow", Flow)
def test_every_step_is_either_drawn_or_refused(flow: Flow, state: InstallState, step: str):
    before = replace(INSTALL, flow=flow, state=state)
    if step in MAY[flow].get(state, set()):
        after = STEPS[step](before)
        assert after.state in install_machine.ALLOWED[state]
        assert (after.revision, after.updated_at) == (before.revision + 1, LATER)
    else:
        refused = connections.InstallUsed if state in install_machine.OPEN else connections.InstallEnded
        with pytest.raises(refused):
            STEPS[step](before)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", InstallState)
def test_nothing_goes_on_once_the_time_is_over(state: InstallState, step: str):
    with pytest.raises(connections.InstallEnded):
        STEPS[step](replace(INSTALL, state=state, expires_at=LATER))


@pytest.mark.parametrize("state", InstallState)
def test_every_open_install_can_end_and_forgets_its_secret(state: InstallState):
    before = replace(INSTALL, state=state, sealed=SEALED)
    ends = {
        InstallState.FAILED: install_machine.fail(before, Reason.ACCESS_DENIED, at=LATER),
        InstallState.CANCELLED: install_machine.cancel(before, at=LATER),
        InstallState.EXPIRED: install_machine.expire(before, at=before.expires_at),
    }
    for end, after in ends.items():
        if state in install_machine.OPEN:
            assert (after.state, after.sealed, after.revision) == (end, None, before.revision + 1)
            assert after.reason is not None
        else:
            assert after is before


def test_an_install_lives_to_its_last_moment():
    last = INSTALL.expires_at - timedelta(microseconds=1)
    assert install_machine.expire(INSTALL, at=last) is INSTALL
    assert install_machine.expire(INSTALL, at=INSTALL.expires_at).reason is Reason.TIME_OVER


def test_a_process_that_died_at_the_exchange_leaves_a_trace():
    taken = install_machine.begin_exchange(awaiting(), at=LATER)
    assert install_machine.expire(taken, at=taken.expires_at).reason is Reason.INTERRUPTED
    device = install_machine.begin_exchange(awaiting(replace(INSTALL, flow=Flow.DEVICE)), at=LATER)
    assert install_machine.expire(device, at=device.expires_at).reason is Reason.TIME_OVER


@pytest.mark.parametrize(
    ("browser", "uri"),
    [
        ("sha256:other", URI),
        (None, URI),
        ("sha256:browser", URI + "/"),
        ("sha256:browser", URI.replace(":7", ":8")),
        ("sha256:browser", URI.replace("127.0.0.1", "localhost")),
        ("sha256:browser", URI + "?"),
        ("sha256:browser", ""),
    ],
)
def test_a_callback_from_elsewhere_or_to_elsewhere_is_refused(browser: str | None, uri: str):
    with pytest.raises(connections.CallbackRefused):
        install_machine.check_callback(awaiting(), browser_digest=browser, redirect_uri=uri, now=LATER)


def test_an_install_without_a_browser_takes_no_callback():
    with pytest.raises(connections.CallbackRefused):
        install_machine.check_callback(
            replace(awaiting(), browser_digest=None), browser_digest=None, redirect_uri=URI, now=LATER
        )


def test_the_callback_counts_once():
    install = awaiting()
    install_machine.check_callback(install, browser_digest="sha256:browser", redirect_uri=URI, now=LATER)
    taken = install_machine.begin_exchange(install, at=LATER)
    with pytest.raises(connections.InstallUsed):
        install_machine.check_callback(taken, browser_digest="sha256:browser", redirect_uri=URI, now=LATER)
    with pytest.raises(connections.InstallEnded):
        install_machine.check_callback(
            install, browser_digest="sha256:browser", redirect_uri=URI, now=install.expires_at
        )


def test_scopes_that_were_not_granted_are_told():
    assert proven().missing_scopes == {"write"}
    record = proven().record()
    assert record["missing_scopes"] == ["write"]
    assert record["unasked_scopes"] == []
    assert canonical(record)
    assert "sha256:" not in str(record)


def test_tokens_are_256_bits_and_kept_as_digests():
    token = installs.new_token(lambda size: bytes(range(size)))
    assert len(token.reveal()) == 43
    assert installs.token_digest(token) != token.reveal()


def test_what_is_sealed_is_bound_to_its_install():
    others = (replace(INSTALL, install_id="ins_2"), replace(INSTALL, tenant_id="t2"))
    assert len({installs.binding(install) for install in (INSTALL, *others)}) == 3


class Walk(RuleBasedStateMachine):
    """Anybody does anything, at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.install, self.now, self.exchanges = INSTALL, NOW, 0
        self.ended: Install | None = None

    @rule(flow=st.sampled_from(Flow))
    @precondition(lambda self: self.install.revision == 1)
    def choose(self, flow: Flow) -> None:
        self.install = replace(self.install, flow=flow)

    @rule(step=st.sampled_from(sorted(STEPS)))
    def step(self, step: str) -> None:
        before = self.install
        try:
            after = STEPS[step](before)
        except (connections.InstallEnded, connections.InstallUsed):
            return
        self.exchanges += step == "exchange"
        self.install = after

    @rule(seconds=st.integers(1, 300))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.install = install_machine.expire(self.install, at=self.now)

    @rule(reason=st.sampled_from(Reason))
    def fail(self, reason: Reason) -> None:
        self.install = install_machine.fail(self.install, reason, at=self.now)

    @rule()
    def cancel(self) -> None:
        self.install = install_machine.cancel(self.install, at=self.now)

    @invariant()
    def what_has_ended_stays(self) -> None:
        if self.ended is not None:
            assert self.install == self.ended
        elif self.install.state not in install_machine.OPEN:
            self.ended = self.install

    @invariant()
    def a_secret_is_held_only_while_it_is_needed(self) -> None:
        holds = {InstallState.AWAITING_CALLBACK, InstallState.EXCHANGING, InstallState.PROVEN}
        assert self.install.sealed is None or self.install.state in holds

    @invariant()
    def only_a_proven_credential_becomes_a_connection(self) -> None:
        if self.install.state is InstallState.COMPLETED:
            assert self.install.found is not None
            assert self.install.connection_id is not None

    @invariant()
    def a_code_is_sent_once(self) -> None:
        if self.install.flow is not Flow.DEVICE:
            assert self.exchanges <= 1

    @invariant()
    def it_is_over_after_its_life(self) -> None:
        if self.now >= NOW + INSTALL_LIFE:
            assert self.install.state not in install_machine.OPEN


TestWalk = Walk.TestCase
