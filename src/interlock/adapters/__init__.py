"""The outside world behind the rooms' ports. Only `app` imports this; adapters of one kind do not know each other."""
