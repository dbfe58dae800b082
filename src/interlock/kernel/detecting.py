"""What looks as if it should not be told, recognised by its form: unlike a `Redactor`, which knows the secrets themselves."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from interlock.kernel.redaction import REDACTED

PATTERNS: Final[Mapping[str, str]] = {
    "api_keys": r"\b(?:sk|pk|rk|ghp|gho|ghu|ghs|ghr|github_pat|glpat|xox[abprs])[-_][A-Za-z0-9_-]{16,512}",
    "aws_keys": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "bearer": r"(?i:\bbearer)[ \t]{1,8}[A-Za-z0-9._~+/-]{16,4096}=*",
    "cards": r"\b(?:\d[ -]?){12,18}\d\b",
    "emails": r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b",
    "jwts": r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{8,2048}",
    "private_keys": r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[^-]|-(?!----))*+-----END [A-Z ]{0,40}PRIVATE KEY-----",
}
"""By name; each takes time in proportion to the text. `cards` are numbers of 13 to 19 digits whose check digit is right."""

SECRET_PATTERNS: Final = ("api_keys", "aws_keys", "bearer", "jwts", "private_keys")
"""Of these, what opens something."""


class Detector:
    """Finds what fits any of some patterns."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Names of PATTERNS, or regular expressions of one's own, which are as quick as they are written. Raises ValueError, in
        words, for what is neither."""
        self._patterns = [(each, _compiled(each)) for each in patterns]

    def named(self, text: str) -> Iterator[str]:
        """The patterns that something in the text fits."""
        for name, pattern in self._patterns:
            if any(name != "cards" or _is_card(found[0]) for found in pattern.finditer(text)):
                yield name

    def taken_out(self, text: str) -> str:
        """The text without what fits."""
        for name, pattern in self._patterns:
            text = pattern.sub(_without_card if name == "cards" else REDACTED, text)
        return text


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(PATTERNS.get(pattern, pattern))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern[:100]!r} is no regular expression: {error}") from None


def _without_card(found: re.Match[str]) -> str:
    return REDACTED if _is_card(found[0]) else found[0]


def _is_card(number: str) -> bool:
    """Only numbers whose check digit is right (ISO/IEC 7812): others are something else."""
    digits = [int(character) for character in number if character.isdigit()]
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
