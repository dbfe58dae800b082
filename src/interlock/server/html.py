"""The pages on which a person connects an account, as HTML. Pure. There is no script, and nothing is loaded.

What others wrote (a tenant, an account, a service) is escaped, and stands apart from our own words: it cannot change their order
(`bdi`), hides nothing, and within a sentence it is short and marked as theirs (`b`), so that no name becomes a part of what we
say.
"""

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from typing import Final

from interlock import connections

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--page:#f3f5f7;--card:#fff;--line:#d0d7de;--go:#0b57c2;--on:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e9edf1;--soft:#a5b0bb;--page:#0f1317;--card:#191e24;--line:#39424c;
--go:#7cb1ff;--on:#0b1622}}
*{box-sizing:border-box}
body{margin:0;padding:1rem;background:var(--page);color:var(--ink);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:34rem;margin:6vh auto;padding:1.5rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}
h1{margin:0 0 1rem;font-size:1.4rem;line-height:1.35}
h1,dd{overflow:hidden}
b{padding:0 .1em;border-radius:.3rem;background:var(--page);font-weight:600;box-decoration-break:clone;
-webkit-box-decoration-break:clone}
dl{margin:1.25rem 0;border-top:1px solid var(--line)}
dl div{padding:.6rem 0;border-bottom:1px solid var(--line)}
dt{color:var(--soft);font-size:.875rem}
dd{margin:0;font-weight:600}
p{margin:.75rem 0}
form{display:flex;flex-wrap:wrap;gap:.75rem;margin-top:1.5rem}
button{flex:1 1 9rem;min-height:3rem;padding:.5rem;border:1px solid var(--go);border-radius:.5rem;
background:var(--go);color:var(--on);font:inherit;font-weight:600;cursor:pointer}
button.no{background:transparent;color:var(--ink);border-color:var(--soft)}
a{color:var(--go)}
:focus-visible{outline:3px solid var(--go);outline-offset:3px}
"""

_IN_A_SENTENCE: Final = 60
_ALONE: Final = 300
"""Characters of a name."""

_QUOTES: Final = str.maketrans(dict.fromkeys('"“”„‟«»＂〝〞', "'"))

_SCOPES: Final = 50
"""How many are listed."""

STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
"""By which a browser knows the style as ours."""


def why(reason: connections.Reason | None) -> str:
    """A reason as a sentence."""
    told = "it came to nothing" if reason is None else reason.told
    return f"{told[0].upper()}{told[1:]}."


def asking(install: connections.Install, service: str, host: str) -> str:
    """Before anything is done: what is asked for, and for whom."""
    facts = [
        ("Asked for by", [install.actor]),
        ("Under the name", [install.connection_name]),
        ("Access", sorted(install.scopes_asked)),
    ]
    renews = install.connection_id is not None
    return page(
        f"Connect {_clean(service, _IN_A_SENTENCE)}",
        f"<h1>{'Renew the access to' if renews else 'Connect'} {_name(service)}</h1>"
        f"<p>{_name(install.tenant_id)} asks to use your account at {_name(service)}.</p>"
        + _facts(facts)
        + "<p>You go on to the service, which asks whether you agree. When you are back you see whose account it is, and "
        "nothing is connected before you say so.</p>"
        "<p>Go on only if you know who asked you to.</p>"
        f'<form method="post"><button>Go on to {_said(host)}</button></form>',
    )


def leaving(url: str, host: str) -> str:
    """On to the service. Not by a redirect: what a form leads to may then be held to this site, wherever the service leads."""
    address = escape(url)
    return page(
        "On to the service",
        f'<h1>On to {_said(host)}</h1><p><a href="{address}">Go on</a> if nothing happens.</p>',
        head=f'<meta http-equiv="refresh" content="0;url={address}">',
    )


def account(install: connections.Install, service: str, proof: str) -> str:
    """Whose account was found, and to whom it would be joined."""
    assert install.found is not None
    who = install.found.subject
    facts = [
        ("Account", [who or "the service does not say whose it is"]),
        ("At", [service, *([install.base_url] if install.base_url else [])]),
        ("To be used by", [install.tenant_id]),
        ("Asked for by", [install.actor]),
        ("Under the name", [install.connection_name]),
        ("Granted", sorted(install.found.scopes)),
        ("Asked for and not granted", sorted(install.missing_scopes)),
    ]
    return page(
        "Is this right?",
        f"<h1>Let {_name(install.tenant_id)} use {_name(who) if who else 'this account'} at {_name(service)}?</h1>"
        + _facts(facts)
        + f'<form method="post"><input type="hidden" name="proof" value="{escape(proof)}">'
        + '<button name="answer" value="join">Connect</button>'
        + '<button class="no" name="answer" value="cancel">Cancel</button></form>',
    )


def ended(install: connections.Install, service: str) -> str:
    """How it ended, or where it stands."""
    if install.state is connections.InstallState.COMPLETED:
        who = install.found.subject if install.found else None
        return page(
            "Connected",
            f"<h1>{_name(service)} is connected</h1><p>{_name(install.tenant_id)} can use "
            f"{f'the account {_name(who)}' if who else 'the account'}, under the name {_name(install.connection_name)}. "
            "You can close this page.</p>",
        )
    if install.state in connections.install_machine.OPEN:
        return trouble("Not finished", "It goes on where you began.")
    return trouble("Nothing was connected", f"{why(install.reason)} You can close this page, or ask for a new link.")


def trouble(title: str, text: str) -> str:
    """What does not go on."""
    return page(title, f'<h1>{escape(title)}</h1><p role="alert">{escape(text)}</p>')


def page(title: str, body: str, *, head: str = "") -> str:
    """A whole page."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title>{head}<style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )


def _name(text: str) -> str:
    """Within a sentence, whose quotation marks are ours alone."""
    return f"<b>“{_said(text.translate(_QUOTES), _IN_A_SENTENCE)}”</b>"


def _said(text: str, limit: int = _ALONE) -> str:
    return f"<bdi>{escape(_clean(text, limit))}</bdi>"


def _clean(text: str, limit: int) -> str:
    """It in one line, with a sign in place of all that has no look of its own, and would move or hide something else."""
    line = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in " ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _facts(facts: Sequence[tuple[str, Sequence[str]]]) -> str:
    return f"<dl>{''.join(_fact(name, texts) for name, texts in facts if texts)}</dl>"


def _fact(name: str, texts: Sequence[str]) -> str:
    rest = f"<dd>and {len(texts) - _SCOPES} more</dd>" if len(texts) > _SCOPES else ""
    told = "".join(f"<dd>{_said(text)}</dd>" for text in texts[:_SCOPES])
    return f"<div><dt>{name}</dt>{told}{rest}</div>"
