"""The provider `postgres`."""
