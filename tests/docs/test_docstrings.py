"""Docstrings of public classes, functions and methods say what goes in, what comes out, and what is raised."""

import ast
import re

from helpers.public_names import exported, packages

# A first line such as "The calls of a run." or "Whether …" says what is returned.
NAMES_WHAT_COMES_OUT = re.compile(r"(The|This|A|An|All|Another|As|How|Whether|What|Where|One|Reporters|Status) ")

# An async twin leaves to its sibling what they have in common.
LIKE_ANOTHER = re.compile(r"(?:Like|[Aa]s for|are those of|form of) \[?`(?P<name>\w+)`")


def public_objects():
    """Public classes and functions, and public methods of the classes, each once."""
    seen = {}
    for package in packages().values():
        for name in exported(package):
            thing = package.members[name]
            thing = thing.final_target if thing.is_alias else thing
            seen[thing.path] = thing
            if thing.is_class:
                seen |= {
                    member.path: member
                    for member in thing.members.values()
                    if member.is_function and not member.name.startswith("_")
                }
    return seen


OBJECTS = public_objects()
CALLABLES = [thing for thing in OBJECTS.values() if thing.is_function or thing.is_class]
FUNCTIONS = [thing for thing in CALLABLES if thing.is_function]


def sections(thing, *kinds):
    parsed = thing.docstring.parse("google", warnings=False) if thing.docstring else []
    return [section.value for section in parsed if section.kind.value in kinds]


def documented_names(thing):
    """Names under `Args:` and `Attributes:`, and fields with a docstring of their own."""
    named = [item.name.lstrip("*") for value in sections(thing, "parameters", "attributes") for item in value]
    fields = [member.name for member in thing.members.values() if member.is_attribute and member.docstring]
    return named + (fields if thing.is_class else [])


def taken_names(thing):
    """The parameters of a function, or those that a class itself takes: what it inherits is its base's matter."""
    if thing.is_class and not ("__init__" in thing.members or "dataclass" in thing.labels):
        return []
    names = [parameter.name.lstrip("*") for parameter in thing.parameters]
    if thing.is_class:
        inherited = {name for base in thing.mro() if "dataclass" in base.labels for name in base.members}
        return [name for name in names if name not in {"self", *inherited}]
    is_method = thing.parent.is_class and "staticmethod" not in thing.labels
    return names[1:] if is_method else names


def spoken_for_by(thing):
    """Functions whose docstrings may speak for this one: methods that it overrides, and one that it says to be like."""
    twin = LIKE_ANOTHER.search(thing.docstring.value)
    if twin and twin["name"] in thing.parent.members:
        yield thing.parent.members[twin["name"]]
    if thing.parent.is_class:
        for base in thing.parent.mro():
            if thing.name in base.members and base.members[thing.name].is_function:
                yield base.members[thing.name]


def test_there_are_as_many_as_there_should_be():
    assert len(CALLABLES) > 150


def test_everything_has_a_docstring():
    assert [thing.path for thing in CALLABLES if thing.docstring is None] == []


def test_every_parameter_is_documented_and_no_other():
    wrong = {}
    for thing in CALLABLES:
        taken, named = taken_names(thing), documented_names(thing)
        if thing.is_function:
            named += [name for other in spoken_for_by(thing) for name in documented_names(other) if name in taken]
        missing = [name for name in taken if name not in named]
        unknown = [name for name in named if name not in taken] if thing.is_function else []
        if missing or unknown:
            wrong[thing.path] = (missing, unknown)
    assert wrong == {}


def test_what_comes_out_is_told():
    silent = []
    for thing in FUNCTIONS:
        told = any(
            sections(method, "returns", "yields") or NAMES_WHAT_COMES_OUT.match(method.docstring.value)
            for method in (thing, *spoken_for_by(thing))
        )
        nothing = str(thing.returns) == "None" or str(thing.returns).endswith("[None]")
        if not nothing and not told:
            silent.append(thing.path)
    assert silent == []


def test_errors_that_a_function_raises_itself_are_documented():
    silent = {}
    for thing in FUNCTIONS:
        raised = {
            ast.unparse(node.exc.func).rpartition(".")[2]
            for node in ast.walk(ast.parse(thing.source))
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        }
        told = {
            str(item.annotation)
            for method in (thing, *spoken_for_by(thing))
            for value in sections(method, "raises")
            for item in value
        }
        if missing := sorted(name for name in raised - told if name[0].isupper()):
            silent[thing.path] = missing
    assert silent == {}
