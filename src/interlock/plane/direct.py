"""Direct use: an authority that is held, not asked for. The host grants it to the owner of a lane, and takes it back."""


class DirectUse:
    """The right to have executions carried out on one node without a decision for each. It is an object, not a field of a
    request: who was not given it cannot claim it. What is done under it leaves evidence, too."""

    def __init__(self, owner: str) -> None:
        """Only a node makes one that counts: `Node.grant_direct`."""
        self.owner = owner

    def __repr__(self) -> str:
        return f"DirectUse({self.owner})"
