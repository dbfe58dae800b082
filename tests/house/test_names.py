"""Rooms and modules are named after what they are about."""

import ast
import re

import sources

BANNED = frozenset(
    {
        "base",
        "common",
        "core",
        "helper",
        "helpers",
        "lib",
        "manager",
        "misc",
        "service",
        "services",
        "shared",
        "util",
        "utils",
    }
)
BANNED_ENDINGS = ("Helper", "Helpers", "Manager", "Mixin", "Service", "Util", "Utils")


def test_no_module_has_a_name_that_says_nothing():
    assert not [module.name for module in sources.MODULES if BANNED & set(re.split(r"[._]", module.name))]


def test_no_class_has_a_name_that_says_nothing():
    nodes = [(module.name, node) for module in sources.MODULES for node in ast.walk(module.tree)]
    classes = [f"{module}.{node.name}" for module, node in nodes if isinstance(node, ast.ClassDef)]
    assert not [name for name in classes if name.endswith(BANNED_ENDINGS)]
