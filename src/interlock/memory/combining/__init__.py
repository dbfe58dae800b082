"""Providers made of providers: each is opened by its name, with the ones inside in its configuration, or put around open ones."""
