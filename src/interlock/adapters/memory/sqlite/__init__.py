"""The provider `sqlite`: one file, with words in FTS5 and vectors by numpy; no server, no key, no model."""
