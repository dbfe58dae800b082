"""What goes wrong at a provider, in words of our own: whose fault it is, and what asking again would mean."""

from typing import Any, Final, cast

from pydantic_ai import exceptions as pai

from interlock import inference
from interlock.kernel import Fault, InterlockError, Retry

_MOST_SAID: Final = 300


def told(error: Exception, ref: str) -> InterlockError | None:
    """The error of our tree that it is, or that it was raised from. None: a defect, of whoever."""
    if (ours := _found(error)) is not None:
        return ours
    match error:
        case pai.ModelQuotaExceededError():
            step = "Raise the account's limit, or name another model."
            more: dict[str, Any] = {"retry": Retry.AFTER_CHANGE, "fault": Fault.OPERATOR, "next_step": step}
            return inference.ModelUnavailable(_said(error, ref), **more)
        case pai.ModelAuthenticationError():
            return inference.ModelForbidden(_said(error, ref))
        case pai.ModelRequestRejectedError():
            return inference.ModelRefused(_said(error, ref))
        case pai.ModelHTTPError(status_code=status) if 400 <= status < 500 and status not in (408, 409, 425, 429):
            return inference.ModelRefused(_said(error, ref))
        case pai.ModelAPIError() if type(error) is pai.ModelAPIError:  # of no category: nothing that a provider says
            return inference.ModelUnreadable(f"{ref} answered with what is no answer of such a model")
        case pai.ModelAPIError():
            return inference.ModelUnavailable(_said(error, ref), retry_after=error.retry_after)
        case pai.UnexpectedModelBehavior():
            return inference.ModelUnreadable(f"{ref} answered with what is no answer of such a model")
        case pai.UserError():
            return inference.ModelRefused(f"{ref} cannot be asked so: {error.message[:_MOST_SAID]}")
        case _:
            return None


def _found(error: BaseException | None) -> InterlockError | None:
    """Ours, if one led to it: what a wire raises passes through a library, which wraps it in its own."""
    for _ in range(20):
        if error is None or isinstance(error, InterlockError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _said(error: pai.ModelAPIError, ref: str) -> str:
    """What the provider said of it, without what it may repeat of the request or of a page in HTML."""
    status = f" {error.status_code}" if isinstance(error, pai.ModelHTTPError) else ""
    code = error.provider_error_code or error.provider_error_type
    message = _message(error.body)
    parts = [f"{ref} answered{status}" if status else f"{ref} failed", code or "", message or ""]
    return ": ".join(part for part in parts if part)


def _message(body: object) -> str | None:
    for _ in range(3):
        if not isinstance(body, dict):
            break
        inner = cast("dict[str, object]", body)
        text = inner.get("message")
        if isinstance(text, str):
            return None if "<html" in text.lower() else " ".join(text.split())[:_MOST_SAID]
        body = inner.get("error")
    return None
