"""Our own sources of operations, beside the functions of a registry."""
