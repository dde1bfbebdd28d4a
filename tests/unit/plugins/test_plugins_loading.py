"""What can be said about a plugin file without a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from minikube_py.cli_plugins import plugins
from minikube_py.plugging import present
from minikube_py.plugins.declaration import PluginError, split_kind
from minikube_py.plugins.host import PluginHost, read_states
from minikube_py.plugins.loading import load_all, load_file

Write = Callable[[str, str], Path]
HEAD = "from minikube_py.plugins import Plugin\nplugin = Plugin('p')\n"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import absent_module\n", "a.py:1: ModuleNotFoundError"),
        ("x = (\n", "a.py:1: SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("x = 1\n", "has no 'plugin'"),
        (HEAD, "declares nothing"),
        ("from minikube_py.plugins import Plugin\nplugin = Plugin('Not A Name')\n", "a.py:2: plugin name 'Not A Name'"),
        (HEAD + "@plugin.controller('Widget')\nasync def f(ctx, key): ...\n", "a.py:3: kind 'Widget' must be"),
        (HEAD + "@plugin.controller('v1/Pod')\ndef f(ctx, key): ...\n", "f must be declared with async def"),
        (HEAD + "@plugin.controller('v1/Pod')\nasync def f(key): ...\n", "f must take (ctx, key)"),
        (HEAD + "@plugin.controller('v1/Pod', workers=0)\nasync def f(ctx, key): ...\n", "workers 0 must be"),
        (HEAD + "@plugin.validate('v1/Pod', operations=['READ'])\ndef f(request): ...\n", "use some of CREATE"),
        (HEAD + "@plugin.validate('v1/Pod', failure_policy='Maybe')\ndef f(request): ...\n", "must be Fail or Ignore"),
        (HEAD + "@plugin.filter\nasync def f(pod, node): ...\n", "must not be async"),
        (HEAD + "@plugin.score(weight=-1)\ndef f(pod, node): ...\n", "weight -1 must be"),
        (HEAD + "@plugin.background\ndef f(ctx): ...\n", "must be declared with async def"),
    ],
)
def test_mistakes_are_one_line_with_the_place(write: Write, code: str, text: str) -> None:
    path = write("a.py", code)
    with pytest.raises(PluginError) as caught:
        load_file(path)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "parts"), [("v1/Pod", ("v1", "Pod")), ("apps/v1/Deployment", ("apps/v1", "Deployment"))]
)
def test_kinds(text: str, parts: tuple[str, str]) -> None:
    assert split_kind(text) == parts


def test_others_must_not_be_able_to_write(write: Write, folder: Path) -> None:
    path = write("a.py", HEAD + "@plugin.filter\ndef f(pod, node): ...\n")
    assert load_file(path).parts == ["filter f"]
    path.chmod(0o666)
    with pytest.raises(PluginError, match="can be written by others; run chmod go-w"):
        load_file(path)
    path.chmod(0o600)
    folder.chmod(0o777)
    with pytest.raises(PluginError, match="can be written by others"):
        load_file(path)


def test_one_bad_plugin_is_no_harm_to_the_others(write: Write, folder: Path) -> None:
    write("a.py", "x = (\n")
    write("b.py", HEAD + "@plugin.filter\ndef f(pod, node): ...\n")
    write("c.py", HEAD + "@plugin.filter\ndef f(pod, node): ...\n")
    write("_helper.py", "raise RuntimeError\n")
    found = load_all(folder)
    assert [item.plugin is not None for item in found] == [False, True, False]
    assert "plugin name 'p' is taken by" in found[2].error


def test_states_are_there_for_the_command(write: Write, folder: Path) -> None:
    assert not present(folder)
    write("a.py", "x = (\n")
    write("b.py", HEAD + "@plugin.filter\ndef f(pod, node): ...\n")
    assert present(folder)
    host = PluginHost(folder)
    assert [(state.name, state.state) for state in host.states] == [("a", "Failed"), ("p", "Running")]
    assert [state.name for state in read_states(folder.parent.parent)] == ["a", "p"]
    shown = CliRunner().invoke(plugins, ["list", "--data-dir", str(folder.parent.parent)])
    assert "Failed" in shown.output
    assert "filter f" in shown.output


def test_check_command(write: Write) -> None:
    good = write("good.py", HEAD + "@plugin.filter\ndef f(pod, node): ...\n")
    bad = write("bad.py", "x = (\n")
    found = CliRunner().invoke(plugins, ["check", str(good), str(bad)])
    assert found.exit_code == 1
    assert "plugin p: filter f" in found.output
    assert "bad.py:1: SyntaxError" in found.output
