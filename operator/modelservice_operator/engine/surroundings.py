"""What others have in the cluster that matters to services: kinds that are only read, whoever made the objects.

Of each object only the facts are kept that somebody is interested in; where they change, the services are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelservice_operator.kube.resources import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from modelservice_operator.kube.resources import Body, Name, Resource


class Surroundings:
    """The latest facts, by kind and object; a listener of informers."""

    def __init__(
        self, facts: Mapping[Resource, Callable[[Body], Body]], changed: Callable[[Resource, Name], None]
    ) -> None:
        """`facts` says for each kind what is kept of an object; `changed` is told of objects whose facts differ."""
        self._facts = facts
        self._changed = changed
        self._known: dict[Resource, dict[Name, Body]] = {resource: {} for resource in facts}

    @property
    def kinds(self) -> Iterable[Resource]:
        """What is followed."""
        return self._facts.keys()

    def of(self, resource: Resource) -> Mapping[Name, Body]:
        """Give what is known of a kind, by namespace and name."""
        return self._known.get(resource, {})

    def forget(self, resource: Resource) -> None:
        """Drop what nobody follows any more."""
        if resource in self._known:
            self._known[resource] = {}

    # -- what the informers tell

    def listed(self, resource: Resource, bodies: Iterable[Body]) -> None:
        """Take some of all objects."""
        for body in bodies:
            self.changed(resource, body)

    def replaced(self, resource: Resource, names: set[Name], resource_version: str, namespace: str | None) -> None:
        """Forget the objects that the list did not have."""
        del resource_version, namespace  # they are followed in all namespaces, by one informer each
        known = self._known[resource]
        for name in known.keys() - names:
            del known[name]
            self._changed(resource, name)

    def changed(self, resource: Resource, body: Body) -> None:
        """Take an added or changed object."""
        name, facts = name_of(body), self._facts[resource](body)
        if self._known[resource].get(name) != facts:
            self._known[resource][name] = facts
            self._changed(resource, name)

    def deleted(self, resource: Resource, body: Body) -> None:
        """Take a deleted object."""
        name = name_of(body)
        if self._known[resource].pop(name, None) is not None:
            self._changed(resource, name)
