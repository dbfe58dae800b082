"""What is wrong with a spec is all told at once, with its place, its line and the nearest right word."""

from types import ModuleType
from typing import Any

import pytest

from interlock import agents, sdk
from interlock.agents import registry
from interlock.agents.harness import standing


@agents.operation(idempotency="idempotent")
def find_ticket(number: int) -> None:
    """Find it."""


@agents.control()
def polite(given: object) -> None:
    """Say please."""


REGISTRY = agents.Registry([find_ticket], controls=[polite], schemas={"ticket": {"type": "object"}})


def problems(document: str) -> list[tuple[int | None, str, str, str | None]]:
    with pytest.raises(agents.InvalidSpec) as caught:
        agents.read_spec(document, registry=REGISTRY)
    return [(each.line, each.path, each.problem, each.suggestion) for each in caught.value.problems]


def problems_of(**members: Any) -> list[tuple[str, str]]:
    with pytest.raises(agents.InvalidSpec) as caught:
        agents.assemble({"id": "desk", "instructions": "Answer.", **members}, source="a spec")
    return [(each.path, each.problem) for each in caught.value.problems]


def test_all_problems_are_told_at_once_with_their_lines():
    found = problems(
        """id: Desk
instructions: " "
model: gpt
result:
  schema: {$ref: "registry:tiket"}
  max_repair: 3
operations:
  - name: find_tiket
  - name: find_ticket
    aproval: {}
  - name: send
    source: {kind: functon, ref: send}
  - name: pay
    idempotency: sometimes
controls:
  operations:
    - control: polite
      match: {nme: pay}
memory: {scope: everybody}
"""
    )
    assert [(line, path) for line, path, _, _ in found] == [
        (1, "id"),
        (2, "instructions"),
        (3, "model"),
        (5, "result.schema"),
        (6, "result.max_repair"),
        (8, "operations[0].source.ref"),
        (10, "operations[1].aproval"),
        (12, "operations[2].source.kind"),
        (14, "operations[3].idempotency"),
        (18, "controls.operations[0].match.nme"),
        (19, "memory.scope"),
    ]
    hints = {path: hint for _, path, _, hint in found}
    assert hints["result.schema"] == "did you mean 'ticket'?"
    assert hints["result.max_repair"] == "did you mean 'max_repairs'?"
    assert hints["operations[0].source.ref"] == "did you mean 'find_ticket'?"
    assert hints["operations[2].source.kind"] == "did you mean 'function'?"
    assert hints["operations[1].aproval"] == "did you mean 'approval'?"
    assert hints["controls.operations[0].match.nme"] == "did you mean 'name'?"
    told = {path: problem for _, path, problem, _ in found}
    assert told["model"] == "must be provider:name, such as openai:gpt-4o-mini"
    assert told["instructions"] == "must say something"


def operation(**members: Any) -> dict[str, Any]:
    source = {"kind": "mcp", "ref": "server/tool"}
    return {"name": "pay", "idempotency": "pure", "source": source, **members}


def test_a_name_that_stands_twice():
    assert problems_of(operations=[operation(), operation()]) == [("operations", "'pay' stands here 2 times")]


@pytest.mark.parametrize(
    ("controls", "guarded"),
    [
        ({}, False),
        ({"operations": [{"control": "ask", "match": {"name": "refund"}}]}, False),
        ({"operations": [{"control": "ask", "match": {"kind": "capability"}}]}, False),
        ({"operations": [{"control": "ask", "match": {"metadata": {"risk": "low"}}}]}, False),
        ({"operations": [{"control": "ask", "match": {"name": ["refund", "pay"], "kind": "mcp"}}]}, True),
        ({"operations": [{"control": "ask", "match": {"idempotency": "unsafe_once"}}]}, True),
        ({"operations": [{"control": "ask", "match": {"source": "server/tool"}}]}, True),
        ({"operations": [{"control": "ask", "match": {"metadata": {"risk": "high"}}}]}, True),
        ({"operations": [{"control": "ask"}]}, True),
        ({"inputs": [{"control": "ask"}], "outputs": [{"control": "ask"}]}, False),
    ],
)
def test_what_is_unsafe_has_a_guard(controls: dict[str, Any], *, guarded: bool):
    unsafe = operation(idempotency="unsafe_once", metadata={"risk": "high", "owner": "desk"})
    if guarded:
        agents.assemble({"id": "a", "instructions": "b", "operations": [unsafe], "controls": controls}, source="a spec")
    else:
        [(path, problem)] = problems_of(operations=[unsafe], controls=controls)
        assert path == "operations[0]"
        assert "neither an approval nor a control" in problem


def test_what_is_unsafe_may_have_an_approval():
    unsafe = operation(idempotency="unsafe_once", approval={})
    spec = agents.assemble({"id": "a", "instructions": "b", "operations": [unsafe]}, source="a spec")
    assert spec.operations[0].approval == agents.Consent()


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "strng"}, "no JSON Schema"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "no JSON Schema"),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.com/a"}}}, "no JSON Schema"),
        ({"type": "array"}, "is an object"),
        ({}, "is an object"),
    ],
)
def test_schemas_are_looked_at(schema: dict[str, Any], told: str):
    found = problems_of(
        operations=[operation(input=schema, output=schema)], context_schema=schema, result={"schema": schema}
    )
    assert len(found) == 4
    assert {path.removesuffix(".type") for path, _ in found} == {
        "operations[0].input",
        "operations[0].output",
        "context_schema",
        "result.schema",
    }
    assert all(told in problem for _, problem in found)


def test_the_same_control_with_the_same_options_stands_once():
    twice = [{"control": "ask", "options": {"a": 1}}, {"control": "ask", "options": {"a": 1}, "metadata": {"b": 2}}]
    assert problems_of(controls={"inputs": twice}) == [
        ("controls.inputs", "'ask' stands here 2 times with the same options")
    ]
    other = [{"control": "ask", "options": {"a": 1}}, {"control": "ask", "options": {"a": 2}}]
    agents.assemble({"id": "a", "instructions": "b", "controls": {"outputs": other}}, source="a spec")


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("a: &x [1]\nb: *x", "anchors"),
        ("id: a\nid: b", "stands twice"),
        ("id: !!python/object:os.system a", "tags"),
        ("[" * 65 + "]" * 65, "deeper than 64"),
        ("id: a\ninstructions: b\nmetadata:\n  many: [" + "1," * 20_001 + "]", "more than 20000"),
        ("id: " + "a" * 1_000_001, "larger than 1000000"),
        ("- a", "a mapping"),
        ("", "empty"),
        ("{", "not JSON"),
        ('{"id": "a", "id": "b"}', "stands twice"),
        (b"\xff\xfe", "utf-8"),
    ],
)
def test_what_is_no_document_is_refused_in_a_sentence(document: str | bytes, told: str):
    with pytest.raises(agents.InvalidSpec) as caught:
        agents.read_spec(document)
    [problem] = caught.value.problems
    assert told in problem.problem


def test_a_document_names_no_code():
    told = "operations: [{name: system, source: {kind: function, ref: 'os:system'}}]"
    [(_, path, problem, _)] = problems(f"id: a\ninstructions: b\n{told}")
    assert path == "operations[0].source.ref"
    assert "there is no function 'os:system'" in problem


def test_functions_that_no_schema_fits():
    def untyped(a) -> None: ...  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]

    def many(*given: int) -> None: ...

    with pytest.raises(agents.InvalidSpec, match="type hint"):
        agents.operation(idempotency="pure")(untyped)  # pyright: ignore[reportUnknownArgumentType]
    with pytest.raises(agents.InvalidSpec, match="no name"):
        agents.operation(idempotency="pure")(many)
    with pytest.raises(agents.InvalidSpec, match=r"not marked by agents\.operation"):
        agents.agent("desk", "Answer.", operations=[many])


def test_two_of_one_name_are_refused():
    @agents.operation("find_ticket", idempotency="pure")
    def another() -> None: ...

    with pytest.raises(agents.InvalidSpec, match="both have this name"):
        agents.Registry([find_ticket, another])
    assert registry.Registry([find_ticket, find_ticket]).find_function("find_ticket") is not None


@agents.source
class Wiki:
    kind = "wiki"

    def describe(self, source: agents.Source) -> None:
        return None

    def names(self) -> list[str]:
        return []


def test_sources_of_marked_classes_are_found_and_have_kinds_of_their_own():
    module: Any = ModuleType("wiki")
    module.wiki, module.Wiki, module.other = Wiki(), Wiki, 3
    assert agents.Registry(modules=[module]).find_source("wiki") is module.wiki
    with pytest.raises(agents.InvalidSpec, match=r"sources\.wiki: Wiki and Wiki both have this kind"):
        agents.Registry(modules=[module], sources=[Wiki()])  # type: ignore[list-item]


def test_a_function_that_could_not_keep_its_promise_is_refused_before_it_matters():
    def told(idempotency: str, function: Any, **more: Any) -> str:
        with pytest.raises(agents.InvalidSpec) as caught:
            agents.operation(idempotency=idempotency, **more)(function)
        [problem] = caught.value.problems
        return problem.problem

    def send(number: int) -> None:
        """Send it."""

    def was_sent(nummer: int) -> object: ...

    def send_by_key(number: int, context: agents.Invocation) -> None:
        """Send it under a key."""

    assert "it is reconcile, and nothing tells whether it was done" in told("reconcile", send)
    assert "does not take the same" in told("reconcile", send, reconcile=was_sent)
    assert "nobody would ask its function `reconcile`" in told("pure", send, reconcile=send)
    assert "no parameter `context`" in told("dedupe", send)
    agents.operation(idempotency="dedupe")(send_by_key)
    agents.operation(idempotency="reconcile", reconcile=send)(send_by_key)
    agents.operation(idempotency="reconcile", reconcile=send_by_key)(send)


@pytest.mark.parametrize("idempotency", ["dedupe", "reconcile"])
def test_a_document_promises_no_more_of_a_function_than_it_can_keep(idempotency: str):
    [(line, path, problem, _)] = problems(
        f"id: desk\ninstructions: Answer.\noperations:\n  - {{name: find_ticket, idempotency: {idempotency}}}\n"
    )
    assert (line, path) == (4, "operations[0].idempotency")
    assert f"the function find_ticket: it is {idempotency}" in problem


def test_what_is_given_in_python_is_told_as_what_a_document_says():
    def told(**given: Any) -> list[str]:
        with pytest.raises(agents.InvalidSpec) as caught:
            agents.agent("desk", "Answer.", **given)
        return [each.path for each in caught.value.problems]

    wrong = {"controls": 7, "generation": [1], "memory": True, "metadata": [1], "model": 5}
    assert set(told(**wrong)) == wrong.keys()
    assert told(operations="find_ticket") == told(operations=find_ticket) == told(operations=5) == ["operations"]
    assert told(result=5) == ["result.schema"]
    assert told(result=int) == ["$"]
    assert told(operations=[find_ticket, print, lambda: None]) == ["operations[1]", "operations[2]"]


def test_the_name_of_a_file_is_no_document():
    with pytest.raises(agents.InvalidSpec, match=r"Path\('desk\.yaml'\)"):
        agents.read_spec("desk.yaml")


def test_what_is_neither_a_file_nor_a_text_is_no_document():
    given: Any
    for given in (5, None, ["id: desk"], {"id": "desk"}):
        with pytest.raises(agents.InvalidSpec, match=f"not from {type(given).__name__}"):
            agents.read_spec(given)


def test_of_many_problems_a_message_names_the_first_and_counts_the_rest():
    with pytest.raises(agents.InvalidSpec) as caught:
        agents.assemble(
            {"id": "desk", "instructions": "Hi.", **{f"x{number}": 1 for number in range(60)}}, source="a spec"
        )
    assert len(caught.value.problems) == 60
    assert caught.value.message.splitlines()[0] == "a spec has 60 problems:"
    assert caught.value.message.splitlines()[51:] == ["  … and 10 more"]


def test_a_problem_that_has_problems_of_its_own_keeps_them_below_it():
    inner = agents.InvalidSpec("finder.yaml", [sdk.Problem(path="id", problem="it is missing", line=1)])
    outer = agents.InvalidSpec("lead.yaml", [sdk.Problem(path="operations[0].source", problem=inner.message, line=3)])
    assert outer.message.splitlines() == [
        "lead.yaml has 1 problem:",
        "  line 3: operations[0].source: finder.yaml has 1 problem:",
        "    line 1: id: it is missing",
    ]


def test_a_turn_that_failed_tells_first_what_mends_its_cause():
    failure = agents.turns.Failure(code="model_failed", message="no key", details={"next_step": "Set OPENAI_API_KEY."})
    error = standing.failed(failure, "run_1")
    assert error.next_step.startswith("Set OPENAI_API_KEY. ")
    assert "interlock agent inspect" in error.next_step


def test_what_is_wrong_within_a_part_that_is_wrong_is_told_too():
    found = problems_of(
        id="Desk",
        operations=[{"name": "pay", "idempotency": "x"}, {"name": "pay", "idempotency": "pure"}, {"name": "7up"}],
        result={"schema": {"type": "objct"}, "max_repair": 1},
        context_schema={"type": "array"},
    )
    paths = [path for path, _ in found]
    assert {"id", "operations", "result.schema", "result.max_repair", "context_schema.type"} <= {*paths}
    assert len(paths) == len({*found})
    assert ("operations[2].name", "must be 1 to 64 letters, digits, _ and -, a letter first") in found
