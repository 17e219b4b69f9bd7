"""An extension of griffe, which reads the code for the reference.

Some exported functions live in a module of their name: `mesa_llm.recording.record_model` is the function to Python, but
the module to griffe. Here it is the function too. And where a docstring names a public class or function in backticks,
the reference links it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

NAME_IN_BACKTICKS = re.compile(r"(?<![`\[])`(?P<name>[A-Za-z_][\w.]*)(?P<call>\(\))?`(?![`\]])")


class PublicNames(griffe.Extension):
    """Takes exported names for what Python takes them for, and links them from docstrings."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Work on a package once all of its modules are read."""
        everything = list(_inside(pkg))
        packages = [thing for thing in everything if thing.is_init_module]
        shadowed = [
            (module, str(name))
            for module in packages
            for name in module.exports or ()
            if module.members[str(name)].is_module and str(name) in module.members[str(name)].members
        ]
        hidden = tuple(f"{module.path}.{name}." for module, name in shadowed)
        for alias in (
            member for module in everything if module.is_module for member in module.members.values() if member.is_alias
        ):
            if alias.target_path.startswith(hidden):
                alias.resolve_target()  # as long as the way to it leads through modules
        for module, name in shadowed:
            function = module.members[name].members[name]
            module.members[name] = griffe.Alias(name, target=function, parent=module)
        links = _links(packages)
        for thing in everything:
            if thing.docstring is not None:
                thing.docstring.value = _linked(thing, links)


def _inside(thing: griffe.Object) -> Iterator[griffe.Object]:
    yield thing
    for member in thing.members.values():
        if not member.is_alias:
            yield from _inside(member)


def _links(packages: list[griffe.Module]) -> dict[str, str]:
    """Where names lead: public names, and `Class.member` of public classes. Not those that several packages have.

    A member without a docstring of its own is described by its class.
    """
    places: dict[str, set[str]] = {}
    for module in packages:
        for name in map(str, module.exports or ()):
            target = module.members[name]
            if target.is_alias and not target.target_path.startswith(f"{module.path}."):
                continue  # another package's, exported here too
            places.setdefault(name, set()).add(f"{module.path}.{name}")
            if target.is_class:
                for member in target.members.values():
                    own_place = f"{module.path}.{name}.{member.name}" if member.docstring else f"{module.path}.{name}"
                    places.setdefault(f"{name}.{member.name}", set()).add(own_place)
    for path in [path for paths in places.values() for path in paths]:
        places.setdefault(path, set()).add(path)
    return {name: path for name, (path, *others) in places.items() if not others and "._" not in name}


def _siblings(thing: griffe.Object) -> dict[str, str]:
    """The methods that a docstring in the class can name without saying whose they are."""
    owner = thing if thing.is_class else thing.parent
    if owner is None or not owner.is_class:
        return {}
    return {
        member.name: f"{owner.name}.{member.name}"
        for member in owner.members.values()
        if member.is_function and member.docstring and not member.name.startswith("_")
    }


def _linked(thing: griffe.Object, links: dict[str, str]) -> str:
    parameters = {parameter.name for parameter in thing.parameters} if thing.is_function or thing.is_class else set()
    own = {thing.name, *parameters}
    siblings = {name: links[path] for name, path in _siblings(thing).items() if path in links}

    def link(found: re.Match[str]) -> str:
        name = found["name"]
        if name in siblings and name not in own:
            return f"[{found[0]}][{siblings[name]}]"
        # A short lower-case word in backticks is rather an argument or an attribute of the same name.
        plain_word = name.islower() and "_" not in name and not found["call"]
        if name not in links or name in own or plain_word:
            return found[0]
        return f"[{found[0]}][{links[name]}]"

    # What is set as code stays as it is: in a module's docstring also what is indented.
    parts = re.split(r"(?ms)(^ *```.*?^ *```$)" if not thing.is_module else r"(?m)(^ {4}.*$)", thing.docstring.value)
    return "".join(part if index % 2 else NAME_IN_BACKTICKS.sub(link, part) for index, part in enumerate(parts))
