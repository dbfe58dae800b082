"""`interlock connectors from-openapi`: a connector of a document of somebody else's."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.text import clean

if TYPE_CHECKING:
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.kernel import JSON


def from_openapi(
    _: "Desk",
    file: Annotated[str, typer.Argument(metavar="FILE", help="The OpenAPI document: YAML or JSON; - is stdin.")],
    connector_id: Annotated[str, typer.Option("--id", metavar="ID", help="What the connector is called.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.")] = "-",
    *,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Where the service lives.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="OPERATION", help="Take these alone, by id or pattern.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> "Answer | None":
    """Make a connector's manifest of an OpenAPI document.

    What a second call means is taken from the method: GET, PUT and DELETE may be done twice, POST and PATCH may not. Read what
    was made, and say in it what you know better; then name it in `[connectors] manifests`. What could not be taken over is told.

    Example:
      interlock connectors from-openapi pets.openapi.yaml --id pets -o pets.json
    """
    from interlock import catalog
    from interlock.cli import files
    from interlock.cli.desk import Answer

    content = files.read(file, "document", limit=8 * 1_048_576)
    source = "stdin" if file == "-" else file
    found = catalog.read_openapi(
        content, connector_id=connector_id, source=source, base_url=base_url, only=tuple(only or ())
    )
    text = json.dumps(found.manifest.to_json(), indent=2, ensure_ascii=False) + "\n"
    files.write(output, text.encode(), "manifest", force=force)
    notes = [f"left out: {each.what}: {each.why}" for each in found.left_out]
    if output == "-":
        sys.stderr.write("".join(f"{clean(each)}\n" for each in notes))
        return None
    document: dict[str, JSON] = {
        "file": output,
        "connector_id": connector_id,
        "digest": found.manifest.digest,
        "operations": [each.operation_id for each in found.manifest.operations],
        "left_out": [each.to_json() for each in found.left_out],
    }

    def show(paper: "Paper") -> None:
        for each in notes:
            paper.line(each)
        paper.line(f"{output}: connector {connector_id}, {len(found.manifest.operations)} operations")

    return Answer(document=document, show=show)
