"""What the test Hub stores: repositories with a chain of commits, in memory."""

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property

GIT_ATTRIBUTES = ("*.keras", "*.safetensors", "*.h5", "*.zip", "saved_model/*", "*.data-?????-of-?????")
LARGE = 10_000_000


@dataclass(frozen=True)
class User:
    name: str
    write: bool = True


@dataclass(frozen=True)
class Blob:
    """A file as git stores it: its content, or a pointer to it."""

    content: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        head = "version https://git-lfs.github.com/spec/v1"
        return f"{head}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()

    @cached_property
    def git_sha(self) -> str:
        stored = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_sha


@dataclass(frozen=True)
class Commit:
    sha: str
    parent: str | None
    message: str
    files: Mapping[str, Blob]


def stored_as_lfs(path: str, size: int, sample: bytes) -> bool:
    """Decides as the Hub does: by name, by size, and by whether it is text."""
    return size > LARGE or b"\0" in sample or any(fnmatch(path, pattern) for pattern in GIT_ATTRIBUTES)


@dataclass
class Repository:
    """One repository; `gated_for` names who may download from a gated one."""

    id: str
    private: bool = False
    gated_for: set[str] | None = None
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    _count: itertools.count = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        attributes = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in GIT_ATTRIBUTES)
        self._add("initial commit", {".gitattributes": Blob(attributes.encode(), lfs=False)})

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    @property
    def head(self) -> Commit:
        return self.commits[self.branches["main"]]

    def resolve(self, revision: str) -> Commit | None:
        """Returns the commit of a branch, a tag or a full sha."""
        return self.commits.get(self.branches.get(revision) or self.tags.get(revision) or revision)

    def commit(
        self, changes: Mapping[str, bytes | Blob | None], message: str = "another hand", branch: str = "main"
    ) -> Commit:
        """Adds a commit, past the API and its checks: also a hostile one.

        Args:
            changes: Content by path; None deletes.
            message: Message of the commit.
            branch: To add it to.
        """
        files = dict(self.commits[self.branches[branch]].files)
        for path, content in changes.items():
            if content is None:
                del files[path]
            elif isinstance(content, Blob):
                files[path] = content
            else:
                files[path] = Blob(content, stored_as_lfs(path, len(content), content[:512]))
        return self._add(message, files, branch)

    def _add(self, message: str, files: Mapping[str, Blob], branch: str = "main") -> Commit:
        parent = self.branches.get(branch)
        entries = sorted((path, blob.git_sha) for path, blob in files.items())
        sha = hashlib.sha1(repr((self.id, parent, next(self._count), message, entries)).encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent, message, files)
        self.branches[branch] = sha
        self.large |= {blob.sha256: blob.content for blob in files.values() if blob.lfs}
        return self.commits[sha]
