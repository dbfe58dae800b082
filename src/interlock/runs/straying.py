"""Rules that were probably to restrain a connector's calls, and are misspelt."""

from interlock import catalog, policy, sdk


class Straying:
    """Looks a policy over for each connector, when it is first called. Nothing is loaded for it."""

    def __init__(self, rules: policy.Policy, known: catalog.Catalog) -> None:
        self._rules = rules
        self._known = known
        self._sound: set[str] = set()

    def check(self, capability: catalog.Capability) -> None:
        """Raises RuleAstray."""
        connector_id = capability.connector_id
        if connector_id in self._sound:
            return
        operations = (*capability.manifest.operations, *sdk.PROXIES)
        there = [f"{connector_id}.{each.operation_id}" for each in operations]
        elsewhere = self._known.connector_ids - {connector_id}
        strays = policy.find_strays(self._rules.rules, there, elsewhere=elsewhere)
        if problems := [each.problem() for each in strays if each.protects_nothing]:
            raise policy.RuleAstray(problems)
        self._sound.add(connector_id)
