"""The texts of raw values: the client's bytes, and what patches make of them."""

from __future__ import annotations

import orjson
import pytest

from minikube_py.machinery import raw_texts
from minikube_py.machinery.objects import Object, RawObject

HEAD = b'{"apiVersion":"apps/v1","kind":"ControllerRevision",'


def read(rest: bytes) -> Object:
    data = HEAD + rest + b"}"
    return raw_texts.with_texts(orjson.loads(data), data)


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        pytest.param(b'"data":{"a":1}', b'{"a":1}', id="as Go writes it"),
        pytest.param(b'"data" : { "a": 1 } , "revision":1', b'{ "a": 1 }', id="blanks"),
        pytest.param(b'"data":{"a":"<"}', b'{"a":"<"}', id="what Go would escape"),
        pytest.param(b'"data":{"a":"\\u003c"}', b'{"a":"\\u003c"}', id="escaped as Go does"),
        pytest.param(b'"data":{"b":1},"data":{"a": 1}', b'{"a": 1}', id="the last of its name"),
        pytest.param(b'"x":{"data":{"b": 1}},"data":{"a":"}\\""}', b'{"a":"}\\""}', id="not a deeper one"),
    ],
)
def test_the_text_is_the_clients(rest: bytes, text: bytes) -> None:
    assert raw_texts.text_of(read(rest)["data"]) == text


def test_only_unusual_texts_are_kept() -> None:
    assert type(read(b'"data":{"a":1}')["data"]) is dict
    assert type(read(b'"data":{"a": 1}')["data"]) is RawObject


def test_other_kinds_have_no_texts() -> None:
    data = b'{"apiVersion":"v1","kind":"ConfigMap","data":{"a": "1"}}'
    assert type(raw_texts.with_texts(orjson.loads(data), data)["data"]) is dict


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(b'{ "a" : "x  y" ,\n"b":[ 1 ]}', b'{"a":"x  y","b":[1]}', id="blanks go, not those in texts"),
        pytest.param(b'{"a": "<&>"}', b'{"a":"\\u003c\\u0026\\u003e"}', id="what HTML minds is escaped"),
        pytest.param(b'{"a": 1.0}', b'{"a":1.0}', id="numbers stay as written"),
    ],
)
def test_a_patch_leaves_compact_text(value: bytes, text: bytes) -> None:
    assert raw_texts.text_of(raw_texts.reencoded(read(b'"data":' + value))["data"]) == text


def test_what_is_made_anew_is_sorted() -> None:
    obj = raw_texts.rebuilt(read(b'"data":{ "b":{"d":1,"c":2},"a":1}'))
    assert raw_texts.text_of(obj["data"]) == b'{"a":1,"b":{"c":2,"d":1}}'
