"""Connectors that come with Interlock. They import `sdk` and `kernel` only, and load by entry point like anyone's."""
