"""From text to syntax tree: operator precedence, literals, and macros expanded as they are met.

Follows CEL's grammar. A text that the grammar does not accept is handed to ``grammar_errors``, which tells
why in the words of the reference parser; here only the first place where parsing stops is known.
"""

from __future__ import annotations

from minikube_py.machinery.cel.errors import CompileError, Problem
from minikube_py.machinery.cel.macros import MacroError, expanded
from minikube_py.machinery.cel.syntax import Call, Entry, Ident, ListNode, Literal, MapNode, Node, Select, StructNode
from minikube_py.machinery.cel.tokens import KEYWORDS, Token, literal_value, tokens_of
from minikube_py.machinery.cel.types import BOOL, BYTES, DOUBLE, INT, NULL, STRING, UINT
from minikube_py.machinery.cel.values import INT_MAX, INT_MIN

LONGEST = 100_000
"""Characters of an expression."""
DEEPEST = 250
"""Nesting of an expression."""

_BINARY = {
    "'||'": (1, "_||_"), "'&&'": (2, "_&&_"),
    "'<'": (3, "_<_"), "'<='": (3, "_<=_"), "'>='": (3, "_>=_"), "'>'": (3, "_>_"),
    "'=='": (3, "_==_"), "'!='": (3, "_!=_"), "'in'": (3, "@in"),
    "'+'": (4, "_+_"), "'-'": (4, "_-_"), "'*'": (5, "_*_"), "'/'": (5, "_/_"), "'%'": (5, "_%_"),
}  # fmt: skip
_CONSTANTS = {"'true'": (True, BOOL), "'false'": (False, BOOL), "'null'": (None, NULL)}
_LITERALS = {"NUM_INT": INT, "NUM_UINT": UINT, "NUM_FLOAT": DOUBLE, "STRING": STRING, "BYTES": BYTES}


class _Stop(Exception):
    """The grammar does not accept the text."""


def parse(text: str, *, bind: bool = False) -> Node:
    """The syntax tree of an expression; ``bind`` adds the macro ``cel.bind``. Raises ``CompileError``."""
    if len(text) > LONGEST:
        problem = f"expression code point size exceeds limit: size: {len(text)}, limit {LONGEST}"
        raise CompileError(text, [Problem(0, problem)])
    tokens, unknown = tokens_of(text)
    state = _Parser(tokens, bind)
    node: Node | None = None
    if not unknown:
        try:
            node = state.whole()
        except _Stop:
            node = None
        except RecursionError:
            state.too_deep = True
    if node is None:
        if state.too_deep:
            raise too_deep(text)
        from minikube_py.machinery.cel.grammar_errors import grammar_problems

        raise CompileError(text, grammar_problems(tokens, unknown))
    if state.problems:
        raise CompileError(text, state.problems)
    return node


def too_deep(text: str) -> CompileError:
    """The error of an expression that is nested too deeply."""
    return CompileError(text, [Problem(0, f"expression recursion limit exceeded: {DEEPEST}")])


def _balanced(function: str, terms: list[Node], places: list[int], low: int, high: int) -> Node:
    """The tree of the operators from ``low`` to ``high``, each at its place."""
    middle = (low + high + 1) // 2
    left = terms[middle] if middle == low else _balanced(function, terms, places, low, middle - 1)
    right = terms[middle + 1] if middle == high else _balanced(function, terms, places, middle + 1, high)
    return Call(places[middle], function, [left, right])


class _Parser:
    """A cursor over the tokens; ``problems`` collects what the grammar accepts but the language does not."""

    __slots__ = ("bind", "depth", "index", "kind", "problems", "token", "tokens", "too_deep")

    def __init__(self, tokens: list[Token], bind: bool) -> None:
        self.tokens, self.bind = tokens, bind
        self.index, self.depth, self.too_deep = 0, 0, False
        self.token = tokens[0]
        self.kind = self.token.kind
        self.problems: list[Problem] = []

    def whole(self) -> Node:
        node = self.expression()
        if self.kind != "EOF":
            raise _Stop
        return node

    def take(self) -> Token:
        token = self.token
        self.index += 1
        self.token = self.tokens[min(self.index, len(self.tokens) - 1)]
        self.kind = self.token.kind
        return token

    def expect(self, kind: str) -> Token:
        if self.kind != kind:
            raise _Stop
        return self.take()

    def accept(self, kind: str) -> bool:
        if self.kind != kind:
            return False
        self.take()
        return True

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            self.too_deep = True
            raise _Stop
        node = self.binary(1)
        if self.kind == "'?'":
            at = self.take().at
            yes = self.binary(1)
            self.expect("':'")
            node = Call(at, "_?_:_", [node, yes, self.expression()])
        self.depth -= 1
        return node

    def binary(self, least: int) -> Node:
        left = self.unary()
        while (found := _BINARY.get(self.kind)) is not None and found[0] >= least:
            if found[1] in ("_&&_", "_||_"):
                left = self.chain(left, found)
            else:
                at = self.take().at
                left = Call(at, found[1], [left, self.binary(found[0] + 1)])
        return left

    def chain(self, first: Node, operator: tuple[int, str]) -> Node:
        """All terms of one logical operator, as a balanced tree: long chains are not deep."""
        terms, places, kind = [first], [], self.kind
        while self.kind == kind:
            places.append(self.take().at)
            terms.append(self.binary(operator[0] + 1))
        return _balanced(operator[1], terms, places, 0, len(places) - 1)

    def unary(self) -> Node:
        kind = self.kind
        if kind not in ("'!'", "'-'"):
            return self.member()
        following = self.tokens[min(self.index + 1, len(self.tokens) - 1)].kind
        if kind == "'-'" and following in ("NUM_INT", "NUM_FLOAT"):
            return self.member()
        at, count = self.token.at, 0
        while self.kind == kind:
            self.take()
            count += 1
        node = self.member()
        return node if count % 2 == 0 else Call(at, "!_" if kind == "'!'" else "-_", [node])

    def member(self) -> Node:
        node = self.primary()
        while True:
            if self.kind == "'.'":
                node = self.selection(node)
            elif self.kind == "'['":
                at = self.take().at
                function = "_[?_]" if self.accept("'?'") else "_[_]"
                node = Call(at, function, [node, self.expression()])
                self.expect("']'")
            else:
                return node

    def selection(self, operand: Node) -> Node:
        at = self.take().at
        optional = self.accept("'?'")
        if self.kind == "ESC_IDENTIFIER":
            name = self.take().text[1:-1]
        else:
            name = self.expect("IDENTIFIER").text
            if not optional and self.kind == "'('":
                opening = self.take().at
                return self.call(Call(opening, name, self.arguments(), operand))
        if optional:
            return Call(at, "_?._", [operand, Literal(at, name, STRING)])
        return Select(at, operand, name)

    def call(self, call: Call) -> Node:
        """The call, or what its macro becomes."""
        try:
            return expanded(call, bind=self.bind) or call
        except MacroError as error:
            self.problems.append(Problem(error.at, str(error)))
            return Literal(call.at, None, NULL)

    def arguments(self) -> list[Node]:
        found: list[Node] = []
        if not self.accept("')'"):
            found.append(self.expression())
            while self.accept("','"):
                found.append(self.expression())
            self.expect("')'")
        return found

    def primary(self) -> Node:
        token = self.token
        kind = token.kind
        if kind in _CONSTANTS:
            self.take()
            value, sort = _CONSTANTS[kind]
            return Literal(token.at, value, sort)
        if kind in _LITERALS or kind == "'-'":
            return self.literal()
        if kind == "'('":
            self.take()
            node = self.expression()
            self.expect("')'")
            return node
        if kind == "'['":
            return self.list_literal()
        if kind == "'{'":
            return self.map_literal()
        return self.name()

    def literal(self) -> Node:
        at = self.token.at
        negative = self.accept("'-'")
        token = self.take()
        sort = _LITERALS.get(token.kind)
        if sort is None:
            raise _Stop
        try:
            value = literal_value(token)
        except ValueError as error:
            self.problems.append(Problem(at, str(error)))
            value = 0
        if negative and isinstance(value, int | float):
            value = -value
        if sort is INT and isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
            self.problems.append(Problem(at, "invalid int literal"))
        return Literal(at, value, sort)

    def list_literal(self) -> Node:
        at = self.take().at
        elements: list[Node] = []
        optional: set[int] = set()
        while self.kind != "']'":
            if elements or optional:
                self.expect("','")
                if self.kind == "']'":
                    break
            elif self.kind == "','":
                self.take()
                break
            if self.accept("'?'"):
                optional.add(len(elements))
            elements.append(self.expression())
        self.expect("']'")
        return ListNode(at, elements, frozenset(optional))

    def map_literal(self) -> Node:
        at = self.take().at
        entries: list[Entry] = []
        while self.kind != "'}'":
            if entries:
                self.expect("','")
                if self.kind == "'}'":
                    break
            elif self.kind == "','":
                self.take()
                break
            optional = self.accept("'?'")
            key = self.expression()
            colon = self.expect("':'").at
            entries.append(Entry(colon, key, self.expression(), optional))
        self.expect("'}'")
        return MapNode(at, entries)

    def name(self) -> Node:
        start = self.token.at
        leading = self.accept("'.'")
        token = self.expect("IDENTIFIER")
        if self.kind == "'('":
            opening = self.take().at
            name = f".{token.text}" if leading else token.text
            return self.call(Call(opening, name, self.arguments()))
        message = self.message_name(token.text)
        if message is not None:
            return self.message(message)
        if token.text in KEYWORDS:
            self.problems.append(Problem(start, f"reserved identifier: {token.text}"))
        return Ident(token.at, f".{token.text}" if leading else token.text)

    def message_name(self, first: str) -> str | None:
        """The whole name when what follows is ``a.b.C{``."""
        names, index = [first], self.index
        tokens, last = self.tokens, len(self.tokens) - 1
        while tokens[index].kind == "'.'" and tokens[min(index + 1, last)].kind == "IDENTIFIER":
            names.append(tokens[index + 1].text)
            index += 2
        if tokens[index].kind != "'{'":
            return None
        while self.index < index:
            self.take()
        return ".".join(names)

    def message(self, name: str) -> Node:
        at = self.take().at
        entries: list[Entry] = []
        while self.kind != "'}'":
            if entries:
                self.expect("','")
                if self.kind == "'}'":
                    break
            elif self.kind == "','":
                self.take()
                break
            optional = self.accept("'?'")
            escaped = self.kind == "ESC_IDENTIFIER"
            key = self.take().text[1:-1] if escaped else self.expect("IDENTIFIER").text
            colon = self.expect("':'").at
            entries.append(Entry(colon, key, self.expression(), optional))
        self.expect("'}'")
        return StructNode(at, name, entries)
