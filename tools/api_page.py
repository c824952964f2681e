"""Writes docs/reference.md: what every public module names in `__all__`, with signatures and docstrings.

    uv run python tools/api_page.py

The page is not kept in git: the session `docs` of nox writes it before it builds the site.

Modules are read and not imported, so that nothing needs to be installed.
"""

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
INTRODUCTION = """# Reference

What is public, by module; [API](api.md) says what that promises. Of methods the first lines are shown; `help(...)` says
the rest.
"""
Definition = ast.ClassDef | ast.FunctionDef
SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Yields")


@cache
def sources() -> dict[str, Path]:
    """The modules of all packages by name."""
    found = {}
    for source in sorted(ROOT.glob("packages/*/src")):
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


def public_names(module: str) -> list[str]:
    """What a module names in `__all__`."""
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def find(module: str, name: str) -> tuple[str, ast.stmt] | None:
    """Where a name of a module is defined, and its definition; None if that is in another project."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module in sources():
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(node.module, alias.name)
    for node in tree(module).body:
        if isinstance(node, Definition) and node.name == name:
            return module, node
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if ast.unparse(target) == name:
                return module, node
    return None


def methods(module: str, definition: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    """The public methods of a class by name, those of its bases in this project after its own."""
    found = {
        node.name: node
        for node in definition.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    for base in definition.bases:
        home = find(module, ast.unparse(base).partition("[")[0])
        if home is not None and isinstance(home[1], ast.ClassDef):
            found |= {name: node for name, node in methods(home[0], home[1]).items() if name not in found}
    return found


def signature(node: ast.FunctionDef) -> str:
    """A function's first lines; a property's type."""
    decorators = {ast.unparse(one) for one in node.decorator_list}
    returns = ast.unparse(node.returns) if node.returns else ""
    if decorators & {"property", "cached_property"}:
        return f"{node.name}: {returns}"
    kind = next((f"@{one}\n" for one in ("classmethod", "staticmethod") if one in decorators), "")
    listed = arguments(node.args)
    text = ", ".join(listed) if len(", ".join(listed)) <= 80 else "\n    " + ",\n    ".join(listed) + ",\n"
    return f"{kind}def {node.name}({text})" + (f" -> {returns}" if returns else "")


def arguments(given: ast.arguments) -> list[str]:
    """The arguments of a function one by one, without `self` and `cls`."""
    positional = [*given.posonlyargs, *given.args]
    listed = [
        _argument(one, default)
        for one, default in zip(
            positional, [None] * (len(positional) - len(given.defaults)) + given.defaults, strict=True
        )
    ]
    if given.posonlyargs:
        listed.insert(len(given.posonlyargs), "/")
    if given.vararg or given.kwonlyargs:
        listed.append("*" + (_argument(given.vararg, None) if given.vararg else ""))
    listed += [_argument(one, value) for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        listed.append("**" + _argument(given.kwarg, None))
    return [one for one in listed if one not in {"self", "cls"}]


def _argument(one: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(one.annotation)}" if one.annotation else ""
    space = " " if kind else ""
    return one.arg + kind + (f"{space}={space}{ast.unparse(default)}" if default else "")


def markdown(text: str) -> str:
    """A docstring as Markdown: its sections become lists."""
    lines: list[str] = []
    section = ""
    for line in inspect.cleandoc(text).splitlines():
        if (name := line.removesuffix(":")) in SECTIONS and line.endswith(":"):
            section = name
            lines += [f"{name}:", ""]
        elif not line.startswith("    ") or not section:
            section = section if not line else ""
            lines.append(line)
        elif line.startswith("        ") or section in {"Returns", "Yields"}:
            lines.append(line.strip() if section in {"Returns", "Yields"} else "  " + line.strip())
        else:
            what, colon, rest = line.strip().partition(": ")
            lines.append(f"- `{what}`: {rest}" if colon else f"- {line.strip()}")
    return "\n".join(lines)


def described(module: str, name: str) -> Iterator[str]:
    """The part of the page about one name."""
    found = find(module, name)
    yield f"### `{name}`\n"
    if found is None:
        return
    home, node = found
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        yield f"```python\nclass {name}{f'({bases})' if bases else ''}\n```\n"
    elif isinstance(node, ast.FunctionDef):
        yield f"```python\n{signature(node)}\n```\n"
    else:
        yield f"```python\n{ast.unparse(node)}\n```\n"
        return
    if text := ast.get_docstring(node):
        yield markdown(text) + "\n"
    if isinstance(node, ast.ClassDef):
        for method in methods(home, node).values():
            text = markdown(ast.get_docstring(method) or "").partition("\n\n")[0]
            yield f"```python\n{signature(method)}\n```\n\n{text}\n"


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for module in sources():
        if names := public_names(module):
            parts.append(f"## `{module}`\n")
            if text := ast.get_docstring(tree(module)):
                parts.append(markdown(text).partition("\n\n")[0] + "\n")
            for name in names:
                parts += described(module, name)
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
