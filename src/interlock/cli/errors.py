"""What can be wrong with how a command is used."""

from typing import cast

from interlock.kernel import ConfigurationError, Fault, InterlockError, RequestError, Retry


class Usage(RequestError):
    """The command line cannot be understood. `details.usage` is the command's own line."""

    code = "usage"
    next_step = "`interlock COMMAND --help` shows how it is used."

    def about(self, command: str, usage: str) -> "Usage":
        """The same, of a command whose usage line this is."""
        self.details["usage"] = usage
        if self.next_step == Usage.next_step:
            self.next_step = f"`{command} --help` shows how it is used."
        return self


class NotRemote(RequestError):
    """The command works where the store is, and a server was named."""

    code = "not_remote"
    next_step = "Run it where the store is, without --server and INTERLOCK_SERVER."


class ServerTokenMissing(RequestError):
    """A server was named, and no token for it."""

    code = "server_token_missing"
    next_step = (
        "Put the token of `interlock tokens create` into INTERLOCK_TOKEN, or name its file in INTERLOCK_TOKEN_FILE."
    )


class FileRefused(RequestError):
    """A file that the command line names cannot be read or written."""

    code = "file_refused"
    next_step = "Check the path and its permissions."


class ImportIncomplete(InterlockError):
    """Some of an import was not taken; what was taken stays."""

    code = "import_incomplete"
    fault = Fault.CALLER
    retry = Retry.AFTER_CHANGE
    next_step = "Correct the lines that are told (`--rejected FILE` writes them out), and import them again."


class TokenMissing(RequestError):
    """There is no token where the command line says that one is."""

    code = "token_missing"
    next_step = "Put the token into an environment variable and name it: `--token-env NAME`; or `--token-file FILE`."


class StoreNotKept(ConfigurationError):
    """The store would end with the command, and each command is a process of its own."""

    code = "store_not_kept"
    next_step = "Name a file or a Postgres database: `--store`, or `store` in interlock.toml. A store in memory is for programs."


class AlreadyInitialised(ConfigurationError):
    """The folder has a settings file already; it is left as it is."""

    code = "already_initialised"
    next_step = "Edit that file, or begin in another folder. `interlock doctor` checks what is there."


class OutputLost(InterlockError):
    """The command did its work, and its answer could not be written."""

    code = "output_lost"
    retry = Retry.NEVER
    fault = Fault.OPERATOR
    next_step = "Make room where the output goes; `interlock runs list` shows what was done."

    @classmethod
    def by(cls, error: OSError, *, next_step: str | None = None) -> "OutputLost":
        """The error for what the system said."""
        return cls(f"the answer could not be written: {error.strerror}", next_step=next_step)


class Interrupted(InterlockError):
    """Somebody pressed Ctrl-C. A write may have left before."""

    code = "interrupted"
    retry = Retry.NEVER
    next_step = (
        "`interlock runs list` shows where things stand; `interlock runs settle RUN` settles a write that had left."
    )


def interrupted(*, run_id: str | None, acts: bool, leaves: str | None = None) -> Interrupted:
    """What an interrupted command left: one run, or, if it `acts`, one that nobody can name, or what it says itself that it
    `leaves`, or nothing."""
    if leaves is not None:
        return Interrupted("interrupted", next_step=leaves)
    if run_id is not None:
        step = f"`interlock runs show {run_id}` shows where it stands; "
        step += f"`interlock runs settle {run_id}` settles a write that had left."
        return Interrupted("interrupted", run_id=run_id, next_step=step)
    return Interrupted("interrupted", next_step=None if acts else "What the command had begun was ended with it.")


class Unexpected(InterlockError):
    """A defect: something was raised that no error of ours covers."""

    code = "unexpected"
    next_step = "Run it again with INTERLOCK_DEBUG=1 and report the traceback."


def known(error: Exception) -> InterlockError:
    """An error of the tree: that one, or what stands for a defect."""
    if isinstance(error, InterlockError):
        return error
    unexpected = Unexpected(f"{type(error).__name__}: {error}"[:2000])
    unexpected.__cause__ = error
    return unexpected


def first_of(group: ExceptionGroup[Exception]) -> Exception:
    """One of the errors of a group: the first is as good as any."""
    first = group.exceptions[0]
    return first_of(cast("ExceptionGroup[Exception]", first)) if isinstance(first, ExceptionGroup) else first
