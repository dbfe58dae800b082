"""What goes wrong with the documents of others, and with what is offered to them.

ConfigurationError
├── ForeignSpec          foreign_spec
└── NoSuchTools          no_such_tools
"""

from interlock.kernel import ConfigurationError


class ForeignSpec(ConfigurationError):
    """A document is not what it was said to be, or holds what has no place in a spec of ours."""

    code = "foreign_spec"
    next_step = "Correct the document where the message says, or write the spec by hand: `interlock agent schema`."


class NoSuchTools(ConfigurationError):
    """What was to be offered as tools cannot be: there is nothing of that name, or two would have one name."""

    code = "no_such_tools"
    next_step = "Name capabilities that there are: `interlock capabilities list`."
