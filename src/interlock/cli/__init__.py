"""The command `interlock`: what an operator does at a shell.

Owns: commands, what they print, exit codes. Refuses: rules; every command is one call of the facade, or a few.
Invariants: no traceback reaches a user; text from outside never reaches a terminal raw; `--json` prints one document,
errors too; a command that only reads writes nothing; `--help` loads no engine.
"""

from interlock.cli.main import main

__all__ = ["main"]
