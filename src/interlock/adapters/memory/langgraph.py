"""The provider `langgraph`: any LangGraph store (`langgraph.store.base.BaseStore`) as a memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast
from urllib.parse import quote

from interlock import memory
from interlock.adapters.memory.named import given_or_made
from interlock.kernel import Clock, IdSource

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore, PutOp, SearchItem

_PAGE: Final = 500
_KNOWN: Final = frozenset({"store", "root", "durable"})


class Langgraph(memory.DocumentKeeper):
    """Records as items of a LangGraph store: under the namespace `root`, tenant, user, agent, session, by their ids. Its own
    index, if it has one, is what likeness is searched by."""

    name: ClassVar[str] = "langgraph"
    description: ClassVar[str] = "in any LangGraph store; reads the whole scope for each operation"
    needs: ClassVar[Mapping[str, str]] = {"langgraph.store": "pip install 'interlock[langgraph]'"}

    def __init__(self, store: "BaseStore", *, root: Sequence[str], durable: bool, clock: Clock, ids: IdSource) -> None:
        """On a store that is the caller's, and stays open. `durable` is what is known of it."""
        indexed = bool(getattr(store, "index_config", None))
        super().__init__(_Stored(store, tuple(root), indexed=indexed), clock=clock, ids=ids)
        self._durable = durable

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            from langgraph.store.base import BaseStore
        except ImportError:
            raise memory.InvalidConfig(
                "LangGraph's stores are not installed", next_step="`pip install 'interlock[langgraph]'`"
            ) from None
        if unknown := sorted(set(config) - _KNOWN):
            raise memory.InvalidConfig(
                f"langgraph takes {', '.join(sorted(_KNOWN))}, and got {', '.join(unknown)[:200]}"
            )
        store, root, durable = config.get("store"), config.get("root", ("interlock",)), config.get("durable", False)
        store = given_or_made(store, "store")
        if not isinstance(store, BaseStore):
            raise memory.InvalidConfig(
                "store is a LangGraph store, an open one: `InMemoryStore()`, `AsyncPostgresStore(…)`; or module:function, as "
                "a text, of what gives one"
            )
        if not isinstance(root, list | tuple) or not root or not isinstance(durable, bool):
            raise memory.InvalidConfig("root is a list of labels, and durable is true or false")
        labels = tuple(cast("Sequence[object]", root))
        if labels[0] == "langgraph" or any(not isinstance(each, str) or not each or "." in each for each in labels):
            raise memory.InvalidConfig(
                "the labels of root are texts without a period, and the first is not `langgraph`"
            )
        return {"store": store, "root": labels, "durable": durable}

    @classmethod
    async def open(cls, config: Mapping[str, Any], *, clock: Clock, ids: IdSource) -> Self:
        return cls(config["store"], root=config["root"], durable=config["durable"], clock=clock, ids=ids)

    @property
    def guarantees(self) -> memory.Guarantees:
        return memory.Guarantees(
            durable=self._durable,
            atomic_batch=False,
            read_your_writes=True,
            search_modes=self.modes,
            isolation="query",
        )


class _Stored(memory.DocumentStore):
    """Documents as items of a LangGraph store, which is the caller's, and stays open."""

    def __init__(self, store: "BaseStore", root: tuple[str, ...], *, indexed: bool) -> None:
        self._store = store
        self._root = root
        self.likens = indexed

    async def load(self, scope: memory.Scope, limit: int) -> Sequence[Mapping[str, Any]]:
        return [item.value["item"] for item in await self._found(scope, None, limit)]

    async def save(self, documents: Sequence[memory.Document]) -> None:
        from langgraph.store.base import PutOp

        ops = [
            PutOp(
                namespace=(*self._root, *_labels(each.scope)),
                key=each.record_id,
                value={"item": dict(each.document), "text": each.text}
                | dict(zip(memory.DIMENSIONS, _labels(each.scope), strict=True)),
                index=["text"] if each.text and self.likens else False,
                ttl=None,
            )
            for each in documents
        ]
        for batch in _apart(ops):
            await self._store.abatch(batch)

    async def nearest(self, scope: memory.Scope, text: str, limit: int) -> Mapping[memory.Key, float]:
        items = await self._found(scope, text, limit)
        return {
            memory.Key(item.key, memory.Scope.from_json(item.value["item"]["scope"])): item.score
            for item in items
            if item.score is not None
        }

    async def health(self) -> memory.Health:
        await self._store.asearch(self._root, limit=1, refresh_ttl=False)
        return memory.Health(ok=True, detail=type(self._store).__name__)

    async def _found(self, scope: memory.Scope, text: str | None, limit: int) -> "list[SearchItem]":
        """What the scope covers: as much of it as is named without a gap is the namespace, and the rest is in the filter."""
        labels = dict(zip(memory.DIMENSIONS, _labels(scope), strict=True))
        named = {name: label for name, label in labels.items() if label != _NOBODY}
        prefix: list[str] = []
        for name in memory.DIMENSIONS:
            if name not in named:
                break
            prefix.append(named.pop(name))
        found: dict[tuple[tuple[str, ...], str], SearchItem] = {}
        at = 0
        while len(found) < limit:
            page = await self._store.asearch(
                (*self._root, *prefix),
                query=text,
                filter=dict(named) or None,
                limit=min(_PAGE, limit - at),
                offset=at,
                refresh_ttl=False,
            )
            found |= {(item.namespace, item.key): item for item in page}
            at += len(page)
            if len(page) < _PAGE or at >= limit:
                break
        return [item for item in found.values() if len(item.namespace) == len(self._root) + len(memory.DIMENSIONS)]


def _apart(ops: "Sequence[PutOp]") -> "list[list[PutOp]]":
    """As few batches as it takes that none has one text twice: on that LangGraph's InMemoryStore (4.3) raises ValueError."""
    batches: list[list[PutOp]] = []
    counts: Counter[str] = Counter()
    for op in ops:
        text = str((op.value or {}).get("text", ""))
        at = counts[text] if op.index else 0
        counts[text] += bool(op.index)
        if at == len(batches):
            batches.append([])
        batches[at].append(op)
    return batches


_NOBODY: Final = "-"


def _labels(scope: memory.Scope) -> tuple[str, ...]:
    """A label for each part: no name can be made to look like two, like another, or like none."""
    return tuple(_NOBODY if part is None else "=" + quote(part, safe="").replace(".", "%2E") for part in scope.parts)
