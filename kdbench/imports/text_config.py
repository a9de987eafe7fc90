"""Configurations that a checkpoint of mmdetection3d holds as Python text: read, never executed."""

import ast
from typing import Any

from kdbench.errors import DataError


def read_text(text: str, where: str) -> dict[str, Any]:
    """The assignments of a configuration, or the values of one written as a single dictionary.

    What is no plain value (a call other than dict(), a name) becomes None. Raises DataError that
    begins with `where` for text that is not Python.
    """
    try:
        tree = ast.parse(text.strip())
    except (SyntaxError, ValueError, RecursionError):
        raise DataError(f"{where}: the configuration in it cannot be read") from None
    values: dict[str, Any] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Expr):
            found = _value(statement.value)
            values |= found if isinstance(found, dict) else {}
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            values[statement.targets[0].id] = _value(statement.value)
    return values


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
        case ast.Dict(keys=keys, values=items):
            pairs = zip(keys, items, strict=True)
            return {_value(k): _value(v) for k, v in pairs if isinstance(k, ast.Constant)}
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=items):
            return {item.arg: _value(item.value) for item in items if item.arg}
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    return None
