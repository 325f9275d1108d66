"""Input, state and output as a tree that opens where it is looked at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.text import Text
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from ...view.tables import plural
from ..signs import one_line

SHORT = 200
"""Characters of a value in the tree; Enter on it shows the whole."""


Branch = tuple[str, Any]
"""A name and its value."""
NOTHING: Branch = ("", {})


class StateTree(Tree[Branch]):
    """Branches are made when they are opened: a state may be large."""

    def __init__(self) -> None:
        super().__init__("", id="state")
        self.show_root = False
        self._shown: Mapping[str, Any] | None = None

    def show(self, parts: Mapping[str, Any]) -> None:
        """Values by the names of their branches. What was open stays open."""
        if parts == self._shown:
            return
        opened = {path for path, node in self._below(self.root, ()) if node.is_expanded}
        first, line = self._shown is None, self.cursor_line
        self._shown = parts
        self.clear()
        for name, value in parts.items():
            self._put(self.root, name, value)
        self.root.expand()
        for part in self.root.children:
            if first:
                part.expand()
        self._reopen(self.root, (), opened)
        self.cursor_line = line

    def _on_tree_node_expanded(self, event: Tree.NodeExpanded[Branch]) -> None:
        self._fill(event.node)

    def _fill(self, node: TreeNode[Branch]) -> None:
        if node is self.root or node.children:
            return
        for name, value in _inside((node.data or NOTHING)[1]):
            self._put(node, name, value)

    def _put(self, node: TreeNode[Branch], name: str, value: Any) -> None:
        label = Text(one_line(name), style="bold")
        label.append(f" {_preview(value)}", style="not bold")
        label.no_wrap = True
        opens = isinstance(value, dict | list) and bool(value)
        node.add(label, data=(name, value), allow_expand=opens)

    def _reopen(
        self, node: TreeNode[Branch], path: tuple[str, ...], opened: set[tuple[str, ...]]
    ) -> None:
        for child in node.children:
            inner = (*path, (child.data or NOTHING)[0])
            if inner in opened:
                self._fill(child)
                child.expand()
                self._reopen(child, inner, opened)

    def _below(
        self, node: TreeNode[Branch], path: tuple[str, ...]
    ) -> Iterable[tuple[tuple[str, ...], TreeNode[Branch]]]:
        for child in node.children:
            inner = (*path, (child.data or NOTHING)[0])
            yield inner, child
            yield from self._below(child, inner)


def _inside(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(str(key), inner) for key, inner in value.items()]
    return [(f"[{index}]", inner) for index, inner in enumerate(value)]


def _preview(value: Any) -> str:
    if isinstance(value, dict | list) and value:
        size = len(value)
        head = f"({plural(size, 'field' if isinstance(value, dict) else 'item')})"
        return (
            head if size > 20 else one_line(f"{head} {_cut(json.dumps(value, ensure_ascii=False))}")
        )
    return one_line(_cut(value if isinstance(value, str) else json.dumps(value)))


def _cut(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[:SHORT]}… ({len(text):,} characters)"
