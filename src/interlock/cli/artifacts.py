"""`interlock artifacts`: content that runs left."""

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import streams
from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    command(group(tree, "artifacts", "Content that runs left: answers, outputs."), "get")(get)


async def get(
    desk: "Desk",
    artifact_id: Annotated[
        str, typer.Argument(metavar="ARTIFACT", help="The artifact's id: `interlock runs show RUN`.")
    ],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there; - is stdout.")
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> "Answer | None":
    """Get an artifact's content, compared with its digest first.

    On a pipe it is passed on byte for byte; on a terminal only text is shown.

    Example:
      interlock artifacts get art_01890a5d… -o answer.json
    """
    from interlock.cli import files
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    async with desk.open() as il:
        artifact, content = await il.runs.artifact(artifact_id)
    told = document(artifact)
    if output not in (None, "-"):
        files.write(output, content, "artifact", force=force)

        def confirm(paper: "Paper") -> None:
            paper.line(f"{output}: {len(content)} bytes of {artifact.media_type}")

        return Answer(document={"artifact": told, "file": output}, show=confirm)
    if desk.options.as_json:
        return Answer(document={"artifact": told, "content": _readable(content)}, show=lambda _: None)
    if output == "-":
        files.write("-", content, "artifact")
    else:
        _print(content)
    return None


def _readable(content: bytes) -> dict[str, str]:
    import base64

    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _print(content: bytes) -> None:
    from interlock.cli import files
    from interlock.cli.errors import Usage
    from interlock.cli.text import clean

    if not streams.answers().isatty():
        files.write("-", content, "artifact")
        return
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Usage("the artifact is not text", next_step="Write it to a file: `-o FILE`.") from None
    for line in text.splitlines():
        streams.answers().write(clean(line, multiline=True) + "\n")
