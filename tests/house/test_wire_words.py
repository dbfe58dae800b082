"""The SDK and the plane are strangers, and yet agree on what can be sent: what the SDK lets a connector say, the plane takes.
Else a connector's mistake would show as a failure of the plane, at the call."""

from hypothesis import example, given
from hypothesis import strategies as st

from fix_plane import Intents
from interlock import plane, sdk

ADDRESSES = st.text(alphabet="aZ0.:/[]%2e?#@|", max_size=24).map("https://{}".format)
PATHS = st.text(alphabet="aZ0.:/[]%2e?#@|\\~é ", max_size=24).map("/{}".format)
HEADERS = st.tuples(
    st.sampled_from(["x", "X-Key", "Cookie", "TE", "", "a b"]) | st.text(max_size=5),
    st.text(alphabet="a \té\r,", max_size=9),
)
READ = sdk.get(
    "thing.fetch",
    "/thing",
    input={"type": "object", "additionalProperties": False},
    output={"type": "object"},
    schemas={"output": "dynamic"},
)


def test_the_reserved_headers_are_the_same():
    assert sdk.FORBIDDEN_HEADERS == plane.RESERVED_HEADERS


@given(path=PATHS, header=HEADERS)
@example(path="/a|b", header=("x", "a"))
@example(path="/%2e./a", header=("x", "a"))
@example(path="/", header=("x", " a"))
@example(path="/", header=("x" * 101, "a"))
def test_a_request_that_the_sdk_makes_is_taken(path: str, header: tuple[str, str]):
    try:
        request = sdk.HttpRequest(method="GET", path=path, headers=(header,))
    except ValueError:
        return
    assert Intents().http(url=f"https://a.b{request.target}", headers=request.headers).target.path == path


@given(base_url=ADDRESSES)
@example(base_url="https://Api.acme.dev")
@example(base_url="https://api.acme.dev:0")
@example(base_url="https://api.acme.dev:65536")
@example(base_url="https://[00]")
@example(base_url="https://[::1]")
@example(base_url="https://api.acme.dev/a|b")
@example(base_url="https://api.acme.dev/a/../b")
@example(base_url="https://api.acme.dev/a/%2e%2e/b")
@example(base_url="http://acme.dev")
def test_an_address_that_the_sdk_takes_is_in_normal_form(base_url: str):
    try:
        sdk.Connector(
            "acme", version="1.0.0", description="A", base_url=base_url, auth=[sdk.no_auth()], operations=[READ]
        )
    except sdk.InvalidManifest:
        return
    assert plane.parse_base(base_url).text == base_url
