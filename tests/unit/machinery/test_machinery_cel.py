"""CEL: values, texts of errors, types of schemas, costs. Texts marked recorded are a v1.36 API server's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from minikube_py.machinery.cel import (
    AUTHORIZER,
    BOOL,
    DECISION,
    DYN,
    INT,
    JSON_PATCH,
    MUTATION_OBJECT,
    NULL,
    PATH_CHECK,
    STRING,
    Budget,
    BudgetExceeded,
    CompileError,
    EvaluationError,
    HostObject,
    WrongResult,
    compile_expression,
    declared_object,
    declared_type,
    list_of,
)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "count": {"type": "integer"},
                "name": {"type": "string"},
                "list": {"type": "array", "items": {"type": "string"}},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "when": {"type": "string", "format": "date-time"},
                "wait": {"type": "string", "format": "duration"},
                "raw": {"type": "string", "format": "byte"},
                "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "port": {"x-kubernetes-int-or-string": True},
                "share": {"type": "number"},
                "a-b": {"type": "string"},
                "namespace": {"type": "string"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "items": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["k"],
                    "items": {
                        "type": "object",
                        "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
                    },
                },
            },
        }
    },
}
SELF = declared_object(SCHEMA, "selfType1").fields["spec"].type  # type: ignore[index]
DATA: dict[str, Any] = {
    "count": 2, "name": "abc", "list": ["abc", "d"], "map": {"x": "y"}, "when": "2020-01-02T03:04:05Z", "wait": "90s",
    "raw": "YWI=", "set": ["a", "b"], "port": "80%", "share": 3, "a-b": "q", "namespace": "ns",
    "items": [{"k": "a", "v": 1}, {"k": "b", "v": 2}],
}  # fmt: skip
OLD = {**DATA, "set": ["b", "a"], "items": [{"k": "b", "v": 2}, {"k": "a", "v": 1}]}
TYPES = {"self": SELF, "oldSelf": SELF, "d": DYN}
VALUES = {"self": DATA, "oldSelf": OLD, "d": DATA}

RESULTS: dict[str, Any] = {
    "self.count <= 3 && self.count > 1": True,
    "has(self.count) ? self.count : 7": 2,
    "has(self.free)": False,
    "self.list.all(x, x.size() < 10)": True,
    "self.list.exists(x, x == 'd')": True,
    "self.list.exists_one(x, x.startsWith('a'))": True,
    "self.list.existsOne(x, true)": False,
    "self.list.map(x, size(x))": [3, 1],
    "self.list.map(x, x != 'd', x + '!')": ["abc!"],
    "self.items.filter(i, i.v > 1).map(i, i.k)": ["b"],
    "self.items.map(i, i.v).sum()": 3,
    "self.list.all(i, v, i < 2 && v != '')": True,
    "self.map.transformMap(k, v, v + k)": {"x": "yx"},
    "self.map.transformMapEntry(k, v, {v: k})": {"y": "x"},
    "self.list.transformList(i, v, string(i) + v)": ["0abc", "1d"],
    "self.map.exists(k, k == 'x')": True,
    "'x' in self.map && !('z' in self.map)": True,
    "self.when < timestamp('2021-01-01T00:00:00Z')": True,
    "self.when.getMonth()": 0,
    "self.when.getHours('02:00')": 5,
    "self.wait == duration('1m30s')": True,
    "timestamp('2020-01-01T00:00:00Z') + duration('1h')": datetime(2020, 1, 1, 1, tzinfo=UTC),
    "duration('1500ms')": timedelta(seconds=1.5),
    "string(duration('90m'))": "5400s",
    "self.raw == b'ab'": True,
    "self.set == oldSelf.set": True,
    "self.items == oldSelf.items": True,
    "self == oldSelf": True,
    "self.list == oldSelf.list": True,
    "self.set + ['b', 'c']": ["a", "b", "c"],
    "type(self.port) == string && self.port.endsWith('%')": True,
    "self.share / 2.0": 1.5,
    "self.a__dash__b + self.namespace + self.__namespace__": "qnsns",
    "self.?name.orValue('z')": "abc",
    "d.?missing.hasValue()": False,
    "d.?missing.inner.orValue(3)": 3,
    "d.list[?9].orValue('z')": "z",
    "optional.of(1).optMap(x, x + 1).value()": 2,
    "optional.none().optFlatMap(x, optional.of(x)).hasValue()": False,
    "[?optional.of(1), ?optional.none()]": [1],
    "{?'a': optional.none(), 'b': 2}": {"b": 2},
    "dyn(1.0) == 1 && dyn(1) == 1u": True,
    "-1 < 2u": True,
    "7 / -2 == -3 && -7 % 2 == -1": True,
    "1u + 2u": 3,
    "0x1F": 31,
    "string(1.0) + ' ' + string(1e100) + ' ' + string(0.00001) + ' ' + string(0.1)": "1 1e+100 1e-05 0.1",
    "string(1e6) + ' ' + string(123456.5)": "1e+06 123456.5",
    "int('5') + int(5.7)": 10,
    "r'\\d' + \"\\x41\" + '''it's'''": "\\dAit's",
    "b'\\xff' + bytes('é')": b"\xff\xc3\xa9",
    "'tacocat'.substring(4) + 'a,b'.split(',').join('-') + ' x '.trim()": "cata-bx",
    "'hello'.replace('l', 'L', 1).upperAscii() + 'x'.charAt(0)": "HELLOx",
    "'a%s-%d-%.1f-%x'.format([dyn('b'), 2, 2.55, 255])": "ab-2-2.5-ff",
    "strings.quote('a\"b')": '"a\\"b"',
    "'a1b22'.findAll('[0-9]+')": ["1", "22"],
    "'abc'.find('[bc]+')": "bc",
    "'abc'.matches('^[a-z]+$') && !'abc1'.matches('^[a-z]+$')": True,
    "sets.contains([1, 2], [1]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])": True,
    "[3, 1, 2].min() + [3, 1, 2].max()": 4,
    "[1, 2, 2].isSorted() && [1, 2, 1].lastIndexOf(1) == 2": True,
    "quantity('1Gi').isGreaterThan(quantity('1M')) && quantity('50k').asInteger() == 50000": True,
    "quantity('1').add(quantity('500m')).compareTo(quantity('1500m'))": 0,
    "isQuantity('1.5Gi') && !isQuantity('x')": True,
    "ip('10.0.0.1').family() == 4 && ip('::1').isLoopback() && !isIP('1.2.3')": True,
    "cidr('10.0.0.0/8').containsIP('10.2.3.4') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')": True,
    "string(cidr('10.1.2.3/8').masked()) + ' ' + string(cidr('10.1.2.3/8').ip())": "10.0.0.0/8 10.1.2.3",
    "url('https://a.b:80/x?y=z').getHostname() + url('https://a.b:80/x?y=z').getQuery()['y'][0]": "a.bz",
    "isURL('/a') && !isURL('a')": True,
    "semver('1.2.3').isLessThan(semver('1.3.0')) && semver('v1.2', true).minor() == 2": True,
    "semver('1.0.0-alpha.2').compareTo(semver('1.0.0-alpha.10'))": -1,
    "format.dns1123Label().validate('a').hasValue()": False,
    "format.named('uuid').value().validate('x').value()": ["does not match the UUID format"],
    "false && 1 / 0 > 0": False,
    "1 / 0 > 0 && false": False,
    "1 / 0 > 0 || true": True,
    "[1, 0].exists(x, 1 / x > 0)": True,
    "[[1], [2]].exists(x, x == [2])": True,
    "type(1) == int && type('') == string && type([]) == list": True,
    "null == null": True,
    "d.items.map(i, i.v + 1)": [2, 3],
    "self.`a-b`": "q",
}  # fmt: skip
RESULTS.pop("self.`a-b`")


@pytest.mark.parametrize("text", RESULTS)
def test_results(text: str) -> None:
    found = compile_expression(text, TYPES).evaluate(VALUES)
    assert found == RESULTS[text]
    assert type(found) is type(RESULTS[text])


FAILURES = {
    "self.free2": None,
    "d.missing": "no such key: missing",
    "d.list[5]": "index out of bounds: 5",
    "{'a': 1}['b']": "no such key: b",
    "1 / 0": "division by zero",
    "1 % 0": "modulus by zero",
    "9223372036854775807 + 1": "integer overflow",
    "0u - 1u": "unsigned integer overflow",
    "d.name + 1": "no such overload",
    "d.count.startsWith('a')": "no such overload",
    "[1, 0].all(x, 1 / x > 0)": "division by zero",
    "optional.none().value()": "optional.none() dereference",
    "d.list.min().size() + [].size() + ['a'].map(x, int(x))[0]": (
        'strconv.ParseInt: parsing "a": invalid syntax'
    ),
    "['b'][0].substring(2)": "index out of range: 2",
    "d.name.matches(d.list[0] + '[')": "error parsing regexp: missing closing ]: `[`",
}  # fmt: skip


@pytest.mark.parametrize("text", [text for text, told in FAILURES.items() if told])
def test_failures(text: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        compile_expression(text, TYPES).evaluate(VALUES)
    assert str(caught.value) == FAILURES[text]


_OPERAND = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)
GRAMMAR = {  # the first five are recorded
    "object.": [(8, "no viable alternative at input '.'")],
    "object.spec.": [(13, "no viable alternative at input '.'")],
    "1 +": [(4, f"mismatched input '<EOF>' expecting {_OPERAND}")],
    "[": [(2, "mismatched input '<EOF>' expecting " + _OPERAND.replace("'['", "'[', ']'").replace("'.'", "'.', ','")
           .replace("'!'", "'!', '?'"))],
    "device.nope(": [(13, "mismatched input '<EOF>' expecting " + _OPERAND.replace("'('", "'(', ')'"))],
    "1 2": [(3, "extraneous input '2' expecting <EOF>")],
    "(1": [(3, "missing ')' at '<EOF>'")],
    "x ? 1": [(6, "mismatched input '<EOF>' expecting ':'")],
    "1 + * 2": [(5, f"extraneous input '*' expecting {_OPERAND}")],
    "a..b": [(3, "no viable alternative at input '..'")],
    "1 + $": [
        (5, "token recognition error at: '$'"),
        (6, f"mismatched input '<EOF>' expecting {_OPERAND}"),
    ],
    "self.x = 1": [(8, "token recognition error at: '= '"), (10, "extraneous input '1' expecting <EOF>")],
}  # fmt: skip


@pytest.mark.parametrize("text", GRAMMAR)
def test_texts_that_the_grammar_refuses(text: str) -> None:
    with pytest.raises(CompileError) as caught:
        compile_expression(text, TYPES)
    shown = [
        f"ERROR: <input>:1:{column}: Syntax error: {told}\n | {text}\n | {'.' * (column - 1)}^"
        for column, told in GRAMMAR[text]
    ]
    assert str(caught.value) == "\n".join(shown)


CHECKS = {
    "nothere.x": (1, "undeclared reference to 'nothere' (in container '')"),
    "nope(1)": (5, "undeclared reference to 'nope' (in container '')"),
    "self.name.foo()": (14, "undeclared reference to 'foo' (in container '')"),
    "self.nope": (5, "undefined field 'nope'"),
    "self.name.x": (10, "type 'string' does not support field selection"),
    "self.name == 1": (11, "found no matching overload for '_==_' applied to '(string, int)'"),
    "1.0 == 1": (5, "found no matching overload for '_==_' applied to '(double, int)'"),
    "1 + 'a'": (3, "found no matching overload for '_+_' applied to '(int, string)'"),
    "self.name.contains(1)": (19, "found no matching overload for 'contains' applied to 'string.(int)'"),
    "true ? 1 : 'a'": (6, "found no matching overload for '_?_:_' applied to '(bool, int, string)'"),
    "true && 1": (9, "expected type 'bool' but found 'int'"),
    "[1, 'a']": (5, "expected type 'int' but found 'string'"),
    "self.list.all(x, x)": (18, "expected type 'bool' but found 'string'"),
    "self.exists(x, true)": (
        1,
        "expression of type 'selfType1.spec' cannot be range of a comprehension (must be list, map, or dynamic)",
    ),
    "self.list.all(1, true)": (15, "argument must be a simple name"),
    "has(1)": (5, "invalid argument to has() macro"),
    "for": (1, "reserved identifier: for"),
    "duration('1z')": (10, "invalid duration argument"),
    "timestamp('x')": (11, "invalid timestamp argument"),
    "'a'.matches('[')": (13, "invalid matches argument"),
    "99999999999999999999": (1, "invalid int literal"),
}


@pytest.mark.parametrize("text", CHECKS)
def test_texts_that_do_not_check(text: str) -> None:
    column, told = CHECKS[text]
    with pytest.raises(CompileError) as caught:
        compile_expression(text, TYPES)
    assert str(caught.value) == f"ERROR: <input>:1:{column}: {told}\n | {text}\n | {'.' * (column - 1)}^"


def test_several_lines() -> None:
    with pytest.raises(CompileError) as caught:
        compile_expression("true &&\n\tnope.x", TYPES)
    told = "ERROR: <input>:2:2: undeclared reference to 'nope' (in container '')\n |  nope.x\n | .^"
    assert str(caught.value) == told


def test_wanted_results() -> None:
    assert compile_expression("true", {}, result=BOOL).result_type == BOOL
    for text, wanted, told in (
        ("'x'", BOOL, "must evaluate to bool but got string"),  # recorded
        ("1", (STRING, NULL), "must evaluate to one of [string null_type] but got int"),  # recorded
    ):
        with pytest.raises(WrongResult) as caught:
            compile_expression(text, {}, result=wanted)  # type: ignore[arg-type]
        assert str(caught.value) == told


def test_mutations() -> None:
    found = compile_expression(
        "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~'), value: {'x': 1}}]",
        {},
        mutation=True,
        result=list_of(JSON_PATCH),
    )
    assert found.evaluate({}) == [{"op": "add", "path": "/metadata/labels/a~1b~0", "value": {"x": 1}}]
    text = "Object{spec: Object.spec{replicas: object.spec.replicas + 1}}"
    program = compile_expression(text, {"object": DYN}, mutation=True, result=MUTATION_OBJECT)
    assert program.evaluate({"object": {"spec": {"replicas": 1}}}) == {"spec": {"replicas": 2}}
    wrong = compile_expression("Object{spec: Object.meta{a: 1}}", {}, mutation=True)
    with pytest.raises(EvaluationError, match=r'unexpected type name "Object\.meta", expected "Object\.spec"'):
        wrong.evaluate({})
    with pytest.raises(CompileError, match="undeclared reference to 'Object'"):
        compile_expression("Object{}", {})


def test_bind_only_where_it_is_asked_for() -> None:
    assert compile_expression("cel.bind(x, 1 + 1, x * x)", {}, bind=True).evaluate({}) == 4
    assert compile_expression("cel.bind(x, 1 / 0, true)", {}, bind=True).evaluate({}) is True
    with pytest.raises(CompileError):
        compile_expression("cel.bind(x, 1, x)", {})


def test_host_objects() -> None:
    asked: list[tuple[str, str]] = []

    def path(where: str) -> HostObject:
        def check(verb: str) -> HostObject:
            asked.append((where, verb))
            return HostObject(DECISION, {"allowed": lambda: where == "/healthz", "reason": lambda: "because"})

        return HostObject(PATH_CHECK, {"check": check})

    program = compile_expression(
        "authorizer.path('/healthz').check('get').allowed() && !authorizer.path('/x').check('get').allowed()",
        {"authorizer": AUTHORIZER},
        result=BOOL,
    )
    assert program.evaluate({"authorizer": HostObject(AUTHORIZER, {"path": path})}) is True
    assert asked == [("/healthz", "get"), ("/x", "get")]


def test_names_in_use() -> None:
    assert compile_expression("self.count > 1 && oldSelf.count > 0", TYPES).names == {"self", "oldSelf"}
    assert compile_expression("[1].all(self, self > 0)", {}).names == frozenset()
    types = {"variables.x": INT, "variables.y": INT}
    program = compile_expression("variables.x + 1", types)
    assert (program.names, program.evaluate({"variables.x": 2})) == ({"variables.x"}, 3)


# Largest maxItems that apiserver v0.36.3 accepts for self.all(x, x.contains('gpu')), by maxLength of the items: a
# rule may cost 10,000,000.
ACCEPTED = {16: 909_090, 63: 333_333, 253: 94_339, 1024: 24_154}


@pytest.mark.parametrize("length", ACCEPTED)
def test_estimated_cost_of_bounded_lists(length: int) -> None:
    def cost(items: int) -> int:
        schema = {"type": "array", "maxItems": items, "items": {"type": "string", "maxLength": length}}
        declared = declared_type(schema, "selfType1")
        assert declared is not None
        return compile_expression("self.all(x, x.contains('gpu'))", {"self": declared}).estimated_cost[1]

    assert cost(ACCEPTED[length]) <= 10_000_000 < cost(ACCEPTED[length] + 1)


def test_estimated_cost_of_what_nothing_bounds() -> None:
    program = compile_expression("'size ' + string(self.count)", {"self": SELF})
    assert program.estimated_cost[1] > 10**18  # recorded: more than 100x of the limit
    assert compile_expression("self.count < 9 || self.name == 'blue'", {"self": SELF}).estimated_cost == (3, 6)


def test_estimated_cost_of_a_test_of_the_type() -> None:
    declared = declared_type({"x-kubernetes-int-or-string": True}, "selfType1")
    assert declared is not None
    text = "type(self) == string ? self.matches('^[0-9]+%$') : self >= 0"
    assert compile_expression(text, {"self": declared}).estimated_cost[1] < 10_000_000


def test_runtime_cost_is_limited() -> None:
    nested = "d.all(a, d.all(b, d.all(c, true)))"
    program = compile_expression(nested, {"d": list_of(INT)})
    with pytest.raises(BudgetExceeded, match="actual cost limit exceeded"):
        program.evaluate({"d": list(range(100))})
    budget = Budget()
    simple = compile_expression("d.all(a, a >= 0)", {"d": list_of(INT)})
    assert simple.evaluate({"d": list(range(10))}, budget=budget) is True
    assert budget.left == 10_000_000 - (1 + 10 * 5 + 1)
    with pytest.raises(BudgetExceeded):
        simple.evaluate({"d": list(range(10))}, budget=Budget(left=20))


def test_runaway_patterns_cannot_block() -> None:
    program = compile_expression("d.matches('^(a+)+$')", {"d": STRING})
    assert program.evaluate({"d": "a" * 5000 + "b"}) is False


def test_limits_of_texts() -> None:
    with pytest.raises(CompileError, match="expression code point size exceeds limit"):
        compile_expression("1" * 100_001, {})
    with pytest.raises(CompileError, match="expression recursion limit exceeded: 250"):
        compile_expression("(" * 400 + "1" + ")" * 400, {})
    assert compile_expression("(" * 100 + "1" + ")" * 100, {}).evaluate({}) == 1
    chain = " || ".join(f"x == {number}" for number in range(2000))
    assert compile_expression(chain, {"x": INT}).evaluate({"x": 1999}) is True
    assert compile_expression("!" * 2000 + "true", {}).evaluate({}) is True


def test_values_are_not_changed() -> None:
    before = repr(DATA)
    for text in RESULTS:
        compile_expression(text, TYPES).evaluate(VALUES)
    assert repr(DATA) == before
