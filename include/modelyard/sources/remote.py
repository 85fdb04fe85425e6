"""A Git repository by its URL: which commit a ref is, and the files of a commit."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from dulwich.client import HTTPUnauthorized, get_transport_and_path_from_url
from dulwich.config import StackedConfig
from dulwich.errors import GitProtocolError, NotGitRepository
from dulwich.object_store import iter_tree_contents, tree_lookup_path
from dulwich.objects import Blob, Commit, ObjectID, Tag, Tree
from dulwich.repo import Repo

from modelyard.errors import RequestError, Unavailable

SCHEMES = ("https", "http", "file")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_SYMLINK, _SUBMODULE = 0o120000, 0o160000


@dataclass(frozen=True)
class Credentials:
    """What a Git server asks for; of an access token, the user name is often free."""

    username: str
    token: str = field(repr=False)


class Repository:
    """A repository at an https, http or file address.

    Args:
        url: without credentials in it.
        credentials: for a server that asks.

    Raises:
        RequestError: Modelyard cannot fetch from such an address, or it holds credentials.
    """

    def __init__(self, url: str, credentials: Credentials | None = None) -> None:
        _check_address(url)
        self.url = url
        self._login = None if urlsplit(url).scheme == "file" else credentials

    def __repr__(self) -> str:
        return f"Repository({self.url!r})"

    def resolve(self, ref: str | None) -> str:
        """Return the full hash of the commit that ``ref`` is now.

        Args:
            ref: branch, tag, full name (``refs/…``) or commit (7 digits or more); None is the default branch.

        Raises:
            RequestError: no such repository or ref, or refused credentials.
            Unavailable: the server cannot be reached.
        """
        with _talking_to(self.url):
            client, path = self._connect()
            listed = client.get_refs(os.fsencode(path)).refs
        refs = {name.decode(): value.decode() for name, value in listed.items() if value is not None}
        name = ref or "HEAD"
        for candidate in (name, f"refs/tags/{name}", f"refs/heads/{name}"):
            if candidate in refs:
                is_tag = candidate.startswith("refs/tags/")
                return self._commit_of_tag(refs[candidate]) if is_tag else refs[candidate]
        if _COMMIT.fullmatch(name):
            return name if len(name) == 40 else self._full_hash(name)
        raise RequestError(f"{self.url} has no branch, tag or commit '{name}'.", _known(refs))

    def checkout(self, commit: str, subfolder: str, folder: Path) -> datetime:
        """Write the files of a commit, or of one of its folders, into the empty folder ``folder``.

        Returns:
            When the commit was made.

        Raises:
            RequestError: no such commit or subfolder, an unsafe file, or refused credentials.
            Unavailable: the server cannot be reached.
        """
        with self._fetched(commit) as repo:
            found = repo.object_store[ObjectID(commit.encode())]
            if not isinstance(found, Commit):
                raise RequestError(f"{commit} of {self.url} is no commit.", "Give a branch, tag or commit.")
            tree = _tree(repo, self.url, found, subfolder)
            for entry in iter_tree_contents(repo.object_store, tree.id):
                if entry.path is not None and entry.mode is not None and entry.sha is not None:
                    _write(repo, folder, os.fsdecode(entry.path), entry.mode, entry.sha)
        return committed_at(found)

    def _connect(self) -> tuple[Any, str]:
        return get_transport_and_path_from_url(
            self.url,
            config=StackedConfig.default(),  # the user's own: proxies, certificates
            username=None if self._login is None else self._login.username,
            password=None if self._login is None else self._login.token,
        )

    def _commit_of_tag(self, object_id: str) -> str:
        """Return the commit that a tag points to, as a tag may be an object of its own."""
        with self._fetched(object_id) as repo:
            found = repo.object_store[ObjectID(object_id.encode())]
            while isinstance(found, Tag):
                found = repo.object_store[found.object[1]]
            return found.id.decode()

    def _full_hash(self, prefix: str) -> str:
        with self._fetched(None) as repo:
            store = repo.object_store
            found = [one for one in store.iter_prefix(prefix.encode()) if isinstance(store[one], Commit)]
        if len(found) == 1:
            return found[0].decode()
        what = "no commit" if not found else f"{len(found)} commits"
        raise RequestError(f"{self.url} has {what} '{prefix}'.", "Give the full hash, a branch or a tag.")

    @contextmanager
    def _fetched(self, object_id: str | None) -> Iterator[Repo]:
        """Yield a temporary repository that holds one object without its history, or all branches and tags."""
        with tempfile.TemporaryDirectory(prefix="modelyard-git-") as temporary, Repo.init_bare(temporary) as repo:
            with _talking_to(self.url):
                client, path = self._connect()
                if object_id is None:
                    client.fetch(path, repo, determine_wants=_branches_and_tags)
                else:
                    self._fetch_one(client, path, repo, ObjectID(object_id.encode()))
            yield repo

    def _fetch_one(self, client: Any, path: str, repo: Repo, wanted: ObjectID) -> None:
        try:
            client.fetch(path, repo, determine_wants=lambda *_, **__: [wanted], depth=1)
        except (GitProtocolError, KeyError):
            # A server may give only what a branch or tag points to; then the commit is in one's history.
            client.fetch(path, repo, determine_wants=_branches_and_tags)
        if wanted not in repo.object_store:
            message = f"{self.url} has no commit {wanted.decode()}."
            raise RequestError(message, "Was its branch deleted or rewritten?")


def _branches_and_tags(refs: Mapping[Any, Any], *_: Any, **__: Any) -> list[ObjectID]:
    prefixes = (b"refs/heads/", b"refs/tags/")
    return list({value for name, value in refs.items() if name.startswith(prefixes) and not name.endswith(b"^{}")})


def committed_at(commit: Commit) -> datetime:
    """Return when a commit was made."""
    return datetime.fromtimestamp(commit.commit_time, UTC)


def _tree(repo: Repo, url: str, commit: Commit, subfolder: str) -> Tree:
    try:
        _, tree_id = tree_lookup_path(repo.object_store.__getitem__, commit.tree, os.fsencode(subfolder.strip("/")))
        tree = repo.object_store[tree_id]
    except KeyError:
        tree = None
    if not isinstance(tree, Tree):
        raise RequestError(
            f"There is no folder '{subfolder}' in {url} at {commit.id.decode()[:12]}.", "Check the subfolder."
        )
    return tree


def _write(repo: Repo, folder: Path, name: str, mode: int, object_id: ObjectID) -> None:
    """Write one file of a tree that a stranger may have made: never outside of the folder.

    A link is never written through: dulwich gives each name of a tree once, so a link is no folder too.
    """
    parts = PurePosixPath(name).parts
    if name.startswith("/") or any(part == ".." or part.lower() == ".git" for part in parts):
        raise RequestError(
            f"The repository holds a file with the name '{name}', which is not safe to write.",
            "Rename or remove it there, and commit.",
        )
    if mode == _SUBMODULE:
        return
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    blob = repo.object_store[object_id]
    assert isinstance(blob, Blob)  # noqa: S101
    if mode == _SYMLINK:
        path.symlink_to(os.fsdecode(blob.data))
        return
    with path.open("xb") as file:
        file.writelines(blob.chunked)
    if stat.S_IMODE(mode) & 0o100:
        path.chmod(0o755)


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        shown = re.sub(r"//[^/@]*@", "//", url)
        raise RequestError(f"'{shown}' is no address Modelyard can fetch from.", f"Use {', '.join(SCHEMES)}: …")
    if "@" in parts.netloc:
        raise RequestError(
            f"The address of the repository on {parts.hostname} holds a user or password.",
            "Give the address without them, and put them into an Airflow connection.",
        )


@contextmanager
def _talking_to(url: str) -> Iterator[None]:
    """Turn what can go wrong with a Git server into errors for people."""
    import urllib3.exceptions

    try:
        yield
    except HTTPUnauthorized as error:
        raise RequestError(
            f"{url} asks for other credentials.",
            "Give user and access token in an Airflow connection; the token needs the right to read the repository.",
        ) from error
    except NotGitRepository as error:
        raise RequestError(
            f"There is no Git repository at {url}, or it may not be seen without credentials.", "Check the address."
        ) from error
    except (urllib3.exceptions.HTTPError, GitProtocolError, OSError) as error:
        if re.search(r"http resp 4\d\d", str(error)):
            raise RequestError(f"{url} refuses: {error}.", "Check the address and the token's rights.") from error
        raise Unavailable(f"{url} cannot be reached: {error}", "Check the address and the network.") from error


def _known(refs: dict[str, str]) -> str:
    names = [name.split("/", 2)[2] for name in refs if name.startswith(("refs/heads/", "refs/tags/"))]
    shown = sorted({name for name in names if not name.endswith("^{}")})
    return f"It has: {', '.join(shown[:10])}{', …' if len(shown) > 10 else '.'}"
