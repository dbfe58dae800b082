"""Rules that were probably to restrain a connector's calls, and are misspelt."""

from interlock import catalog, policy, sdk


class Straying:
    """Looks a policy over for each connector of a tenant, when it is first called. Nothing is loaded for it."""

    def __init__(self, rules: policy.Policy, known: catalog.Catalog) -> None:
        self._rules = rules
        self._known = known
        self._sound: set[tuple[str, str]] = set()

    async def check(self, tenant_id: str, capability: catalog.Capability) -> None:
        """Raises RuleAstray."""
        connector_id, providers = capability.connector_id, self._known.providers
        is_provider = connector_id.startswith(sdk.PROVIDER_PREFIX) and providers is not None
        place = (tenant_id, connector_id)
        if place in self._sound:
            return
        operations = (*capability.manifest.operations, *sdk.PROXIES)
        there = [f"{connector_id}.{each.operation_id}" for each in operations]
        elsewhere = self._known.connector_ids
        if is_provider and providers is not None:
            elsewhere |= {f"{sdk.PROVIDER_PREFIX}{name}" for name in await providers.list_names(tenant_id)}
        strays = policy.find_strays(self._rules.rules, there, tenant_id=tenant_id, elsewhere=elsewhere - {connector_id})
        if problems := [each.problem() for each in strays if each.protects_nothing]:
            raise policy.RuleAstray(problems)
        self._sound.add(place)
