"""What goes wrong with the documents of others.

ConfigurationError
└── ForeignSpec          foreign_spec
"""

from interlock.kernel import ConfigurationError


class ForeignSpec(ConfigurationError):
    """A document is not what it was said to be, or holds what has no place in a spec of ours."""

    code = "foreign_spec"
    next_step = "Correct the document where the message says, or write the spec by hand: `interlock agent schema`."
