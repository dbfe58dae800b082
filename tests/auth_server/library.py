"""Authlib, without types: those that the type checker brings along are of an older release."""

from importlib import import_module
from typing import Any, Final

rfc6749: Final[Any] = import_module("authlib.oauth2.rfc6749")
errors: Final[Any] = import_module("authlib.oauth2.rfc6749.errors")
grants: Final[Any] = import_module("authlib.oauth2.rfc6749.grants")
requests: Final[Any] = import_module("authlib.oauth2.rfc6749.requests")
rfc7009: Final[Any] = import_module("authlib.oauth2.rfc7009")
rfc7523: Final[Any] = import_module("authlib.oauth2.rfc7523")
rfc7591: Final[Any] = import_module("authlib.oauth2.rfc7591")
rfc7636: Final[Any] = import_module("authlib.oauth2.rfc7636")
rfc7662: Final[Any] = import_module("authlib.oauth2.rfc7662")
rfc8628: Final[Any] = import_module("authlib.oauth2.rfc8628")
rfc9207: Final[Any] = import_module("authlib.oauth2.rfc9207")
