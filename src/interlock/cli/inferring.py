"""`interlock inference`: models, asked by hand."""

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import streams
from interlock.cli.frame import command, group
from interlock.cli.text import clean

if TYPE_CHECKING:
    from interlock import inference
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    asking = group(tree, "inference", "Models: what is asked of them is a run, judged and recorded.")
    command(asking, "ask")(ask)
    command(asking, "providers")(list_providers)


async def ask(
    desk: "Desk",
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="provider:name; `fake:echo` says it again.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What it is asked; - is stdin.")],
    instructions: Annotated[str, typer.Option(metavar="TEXT", help="What it is told first.")] = "",
    stream: Annotated[bool, typer.Option("--stream", help="Print what it says as it comes.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key is answered once, and then from the record.")
    ] = None,
    timeout: Annotated[  # noqa: ASYNC109 - it becomes the run's recorded deadline
        float, typer.Option(metavar="SECONDS", min=0.1, max=3600, help="How long it may take.")
    ] = 120.0,
) -> "Answer":
    """Ask a model.

    `interlock runs show` shows how it went, `interlock review export` proves it.

    Example:
      interlock inference ask fake:echo 'What is an interlocking?'
    """
    from interlock.cli import inputs
    from interlock.cli.desk import Answer
    from interlock.testing import models

    said = inputs.words(text)
    shown = stream and not desk.options.as_json

    def told(delta: "inference.Delta") -> None:
        if delta.kind == "text":
            streams.answers().write(clean(delta.text))

    async with desk.open_here(acting=True, models={"fake": models.named}) as il:
        answered = await il.inference.ask(
            model, said, instructions=instructions, key=idempotency_key, timeout=timeout, told=told if shown else None
        )
    answer, cost = answered.answer, answered.cost

    def show(paper: "Paper") -> None:
        paper.line("" if shown else clean(answer.message.text))
        counted = f"{answer.usage.input_tokens} tokens in, {answer.usage.output_tokens} out"
        price = "" if cost is None else f", {cost} USD"
        paper.line(paper.state(answer.finish.value), f"{answer.model}: {counted}{price}; {answered.run_id}")

    document = {
        "run_id": answered.run_id,
        "answer": answer.model_dump(mode="json"),
        "cost_usd": None if cost is None else str(cost),
    }
    return Answer(document=document, show=show)


async def list_providers(desk: "Desk") -> "Answer":
    """List the providers of models: where each is asked, and where its key is to be.

    Example:
      interlock inference providers
    """
    from interlock import app
    from interlock.cli.desk import Answer
    from interlock.kernel import JSON

    found = app.list_model_providers(desk.settings())
    documents: list[JSON] = [each.to_json() for each in found]

    def show(paper: "Paper") -> None:
        rows = [(each.name, each.kind, each.base_url, each.source or "none", each.standing) for each in found]
        paper.table(("provider", "kind", "address", "key", ""), rows)

    return Answer(document={"providers": documents}, show=show)
