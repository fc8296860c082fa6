"""Readers of source text that say, line by line, where a file breaks a rule of the house. They run nothing.

Each checker takes a Source and returns problems as `path:line what`, so that a test can feed it an offending text.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Optional, Union

from tests.support.places import REPOSITORY

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
SQL = re.compile(
    r"\b(SELECT\s|INSERT\s+INTO\b|DELETE\s+FROM\b|(CREATE|ALTER|DROP)\s+(TABLE|INDEX)\b|PRAGMA\s|ON\s+DUPLICATE\s+KEY\b)"
    r"|^\s*UPDATE\s|\bUPDATE\s+\S+\s+SET\b"
)
PROCESS_MODULES = ("subprocess", "multiprocessing", "pty", "concurrent.futures.ProcessPoolExecutor")
PROCESS_CALL = re.compile(r"os\.(system|popen|fork|forkpty|exec[lvpe]+|spawn[lvpe]+|posix_spawnp?)")


@dataclass(frozen=True)
class Source:
    """One file: `path` with slashes, from the repository's root."""

    path: str
    text: str

    @property
    def module(self) -> str:
        """Its dotted name."""
        return re.sub(r"(/__init__)?\.py$", "", self.path).replace("/", ".")

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return _parse(self.text)

    @property
    def nodes(self) -> list[ast.AST]:
        """Every node of the tree, in the order of ast.walk."""
        return _nodes(self.text)

    def at(self, node: ast.AST, what: str) -> str:
        """A problem at the line of `node`."""
        return f"{self.path}:{getattr(node, 'lineno', 1)} {what}"


def sources() -> list[Source]:
    """Every Python file of the product, without the packages in scalable/vendor."""
    files = sorted((REPOSITORY / "scalable").rglob("*.py"))
    return [
        Source(file.relative_to(REPOSITORY).as_posix(), file.read_text(encoding="utf-8"))
        for file in files
        if "vendor" not in file.parts
    ]


@cache
def _parse(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def _nodes(text: str) -> list[ast.AST]:
    return list(ast.walk(_parse(text)))


def imports(source: Source) -> Iterator[tuple[ast.AST, str]]:
    """Every name imported anywhere in the file, in full: `from a.b import c` is `a.b.c`."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def inside(name: str, packages: Sequence[str]) -> bool:
    """Whether the dotted `name` is one of `packages` or below one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def forbidden_edges(source: Source, layers: Sequence[Sequence[str]]) -> list[str]:
    """Imports of ours that go up, or sideways: a room knows itself and the rooms in the lines below its own.

    `layers` are the lines of the picture from the top, each with the rooms that stand side by side in it, as paths
    from scalable/: `worker_pool`, `lib/queue`. A module belongs to the longest one that holds it.
    """
    rooms = {f"scalable.{room.replace('/', '.')}": number for number, line in enumerate(layers) for room in line}
    own = _room(source.module, rooms)
    if own is None:
        return [f"{source.path}:1 {source.module} is in no room of the picture"]
    return [
        source.at(node, f"{own} may not import {name}")
        for node, name in imports(source)
        if inside(name, ["scalable"]) and not _is_below(_room(name, rooms), own, rooms)
    ]


def _room(module: str, rooms: Mapping[str, int]) -> Optional[str]:
    return max((room for room in rooms if inside(module, [room])), key=len, default=None)


def _is_below(room: Optional[str], own: str, rooms: Mapping[str, int]) -> bool:
    return room is not None and (room == own or rooms[room] > rooms[own])


def relative_imports(source: Source) -> list[str]:
    """Imports that start with a dot."""
    return [
        source.at(node, "relative import") for node in source.nodes if isinstance(node, ast.ImportFrom) and node.level
    ]


def misplaced_packages(source: Source, places: Mapping[str, Sequence[str]]) -> list[str]:
    """Imports of a package outside the files or folders its row names; a place is a path, or its beginning."""
    return [
        source.at(node, f"{package} does not belong here")
        for node, name in imports(source)
        for package, paths in places.items()
        if inside(name, [package]) and not source.path.startswith(tuple(paths))
    ]


def unknown_packages(source: Source, known: Sequence[str]) -> list[str]:
    """Imports that are neither Python's, nor ours, nor `known`. Says nothing on Python 3.9, which has no list."""
    standard = getattr(sys, "stdlib_module_names", None)
    if standard is None:
        return []
    tops = [(node, name.partition(".")[0]) for node, name in imports(source)]
    return [source.at(node, f"{top} is in no row") for node, top in tops if top not in {*standard, *known, "scalable"}]


def environment_reads(source: Source) -> list[str]:
    """Uses of the process environment."""
    names = ("environ", "environb", "getenv", "getenvb", "putenv")
    found: list[ast.AST] = [
        node
        for node in source.nodes
        if isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node.value) in ("os", "posix")
    ]
    spelled = {f"{module}.{attribute}" for module in ("os", "posix") for attribute in names}
    found += [node for node, name in imports(source) if name in spelled]
    return [source.at(node, "reads the environment") for node in found]


def started_processes(source: Source) -> list[str]:
    """Ways to start a process."""
    found: list[ast.AST] = [node for node, name in imports(source) if inside(name, PROCESS_MODULES)]
    found += [
        node for node in source.nodes if isinstance(node, ast.Attribute) and PROCESS_CALL.fullmatch(ast.unparse(node))
    ]
    return [source.at(node, "starts processes") for node in found]


def calls_of(source: Source, *names: str) -> list[str]:
    """Calls of a function or method with one of these names."""
    calls = [node for node in source.nodes if isinstance(node, ast.Call)]
    return [
        source.at(call, f"calls {ast.unparse(call.func)}")
        for call in calls
        if ast.unparse(call.func).rpartition(".")[2] in names
    ]


def sql_texts(source: Source) -> list[str]:
    """Text constants that are SQL; docstrings are not looked at."""
    documented = [
        node
        for node in source.nodes
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and ast.get_docstring(node) is not None
    ]
    docstrings = {id(node.body[0].value) for node in documented if isinstance(node.body[0], ast.Expr)}
    return [
        source.at(node, f"holds SQL: {node.value.strip()[:40]!r}")
        for node in source.nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
        and SQL.search(node.value)
    ]


def bare_excepts(source: Source) -> list[str]:
    """`except:` without a type."""
    handlers = [node for node in source.nodes if isinstance(node, ast.ExceptHandler)]
    return [source.at(node, "bare except") for node in handlers if node.type is None]


def classes(source: Source) -> list[str]:
    """Class definitions."""
    return [source.at(node, f"class {node.name}") for node in source.nodes if isinstance(node, ast.ClassDef)]


def functions(source: Source) -> list[Function]:
    """Every function and method."""
    return [node for node in source.nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def length_of(node: Function) -> int:
    """Its lines, from `def` to the last one."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def names_with(source: Source, words: Sequence[str], pairs: Sequence[str], stays: Sequence[str]) -> list[str]:
    """Identifiers of the file that hold one of the words (`LeanNote`, `is_lean`) or pairs of words.

    Names in `stays`, and words followed by "up" or "after" (`look_up`), are passed over.
    """
    found = {}
    for node in source.nodes:
        for name in _identifiers(node):
            parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_").split("_")
            known = [word for word, after in zip(parts, [*parts[1:], ""]) if after not in ("up", "after")]
            is_old = set(words) & set(known) or any(f"_{pair}_" in f"_{'_'.join(parts)}_" for pair in pairs)
            if is_old and name not in stays:
                found[(getattr(node, "lineno", 1), name)] = source.at(node, f"{name} has an old word")
    return list(found.values())


def _identifiers(node: ast.AST) -> list[str]:
    """The names that this node defines, uses or imports."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        module = getattr(node, "module", None) or ""
        names = [part for alias in node.names for part in (*alias.name.split("."), alias.asname or "")]
        return [*module.split("."), *names] if module.startswith("scalable") else []
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, (ast.arg, ast.keyword)):
        return [node.arg or ""]
    return []


def files_imported_at_top(source: Source, every: Sequence[Source]) -> list[str]:
    """Paths of our files in lib that the module imports whenever it is loaded."""
    paths = {other.module: other.path for other in every if other.path.startswith("scalable/lib/")}
    names = []
    for node in source.tree.body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    found = [paths.get(name) or paths.get(name.rpartition(".")[0]) for name in names]
    return sorted({path for path in found if path is not None and not path.endswith("__init__.py")})


def too_long(source: Source, file_lines: int, function_lines: int) -> list[str]:
    """The file itself, and functions, over the alarm lines."""
    count = len(source.text.splitlines())
    problems = [f"{source.path}:1 has {count} lines, at most {file_lines}"] if count > file_lines else []
    for node in functions(source):
        size = length_of(node)
        if size > function_lines:
            problems.append(source.at(node, f"{node.name} has {size} lines, at most {function_lines}"))
    return problems


def undocumented(source: Source) -> list[str]:
    """The module, public classes and public functions without a docstring; bodies that are only `...` need none."""
    problems = [] if ast.get_docstring(source.tree) else [f"{source.path}:1 has no docstring"]
    return problems + [
        source.at(node, f"{node.name} has no docstring")
        for node in _public(source.tree)
        if not node.name.startswith("__") and not ast.get_docstring(node) and not _stub(node)
    ]


def untyped(source: Source) -> list[str]:
    """Public functions and methods with a parameter or a result without a type hint."""
    problems = []
    for node in _public(source.tree):
        if isinstance(node, ast.ClassDef):
            continue
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        bare = [a.arg for a in every if a is not None and a.annotation is None and a.arg not in ("self", "cls")]
        if bare or node.returns is None:
            problems.append(source.at(node, f"{node.name} has no type for {', '.join(bare) or 'its result'}"))
    return problems


def _public(parent: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | Function]:
    """Public classes, functions and methods; what is inside a function is nobody else's."""
    for node in parent.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if node.name.startswith("_") and not node.name.endswith("__"):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from _public(node)


def _stub(node: ast.ClassDef | Function) -> bool:
    only = node.body[0]
    return isinstance(only, ast.Expr) and isinstance(only.value, ast.Constant) and only.value.value is Ellipsis
