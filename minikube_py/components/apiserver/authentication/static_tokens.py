"""Tokens from a CSV file: ``token,user,uid,"group1,group2"``, as ``--token-auth-file`` takes it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from minikube_py.components.apiserver.authentication.identity import TokenIdentity, as_authenticated, intersect
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.types import UserInfo


class StaticTokens:
    """Accepts the tokens of a table for every audience of the API."""

    def __init__(self, users: Mapping[str, UserInfo], api_audiences: Sequence[str]) -> None:
        self._users = dict(users)
        self._api_audiences = tuple(api_audiences)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        user = self._users.get(token)
        if user is None:
            return None
        granted = intersect(audiences, self._api_audiences)
        return TokenIdentity(user, granted) if granted else None


def read_token_file(path: Path) -> dict[str, UserInfo]:
    """The users by their tokens. Blocks. Raises ConfigurationError with the file and the line at fault."""
    users: dict[str, UserInfo] = {}
    for number, row in enumerate(_rows(path), 1):
        if not row or row[0].startswith("#"):
            continue
        if len(row) < 3:
            raise ConfigurationError(f"{path}:{number}: needs at least 3 columns (token, user, uid), found {len(row)}")
        if not row[0]:
            raise ConfigurationError(f"{path}:{number}: the token is empty")
        groups = tuple(group for group in row[3].split(",") if group) if len(row) > 3 else ()
        users[row[0]] = as_authenticated(UserInfo(row[1], groups, row[2]))
    return users


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.reader(file, skipinitialspace=True))
    except OSError as error:
        raise ConfigurationError(f"--token-auth-file: cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"--token-auth-file: {path} is not a CSV file: {error}") from error
