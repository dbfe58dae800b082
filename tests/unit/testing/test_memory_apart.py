"""Where the contract kit lets a provider keep things, case by case."""

from interlock.testing.memory import apart


def test_providers_inside_have_a_folder_of_their_own_too():
    inner = {"name": "sqlite", "config": {"path": "{folder}/memory.db"}}
    config = {"parts": [inner, "memory"], "inner": inner, "quorum": 2}
    reference = apart._reference("fanout", config, "somewhere/core-1", 5)
    filled = {"name": "sqlite", "config": {"path": "somewhere/core-1/memory.db"}}
    assert reference.config == {"parts": [filled, "memory"], "inner": filled, "quorum": 2}
