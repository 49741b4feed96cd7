"""The Hub's API, as far as the client uses it: one function an endpoint, which takes the call and parts of its path."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from tests.hub.hub_storage import Blob, Commit, Repository, User, stored_as_lfs

MODEL = r"/api/models/(?P<repo>[^/]+/[^/]+)"
ROUTES: list[tuple[str, str, Callable]] = []
LICENSES = {"apache-2.0", "mit"}
TRUE = {"true", "True", "1"}


class Refusal(Exception):
    """An answer that is an error, with the headers by which the client tells them apart."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {"X_Error_Message": message} | ({"X_Error_Code": code} if code else {}) | headers


def route(methods: str, pattern: str) -> Callable:
    def register(function: Callable) -> Callable:
        ROUTES.extend((method, pattern, function) for method in methods.split())
        return function

    return register


# Who may do what


def user_of(call: Any) -> User | None:
    authorization = call.headers.get("Authorization")
    if authorization is None:
        return None
    user = call.hub.users.get(authorization.removeprefix("Bearer "))
    if user is None:
        raise Refusal(401, "Invalid credentials in Authorization header")
    return user


def repository_of(call: Any, repo: str, write: bool = False) -> Repository:
    user, repository = user_of(call), call.hub.repositories.get(repo)
    hidden = repository is None or (repository.private and (not user or user.name != repository.owner))
    if hidden and user is None:
        raise Refusal(401, "Invalid username or password.", "RepoNotFound")
    if hidden:
        raise Refusal(404, "Repository not found", "RepoNotFound")
    if write and user is None:
        raise Refusal(401, "Invalid username or password.")
    if write and not user.write:
        raise Refusal(403, "Forbidden: you must use a write token to upload to a repository.")
    if write and user.name != repository.owner:
        raise Refusal(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
    return repository


def require_access(call: Any, repository: Repository) -> None:
    user, allowed = user_of(call), repository.gated_for
    if allowed is None or (user and user.name in {repository.owner, *allowed}):
        return
    if user is None:
        reason = f"Access to model {repository.id} is restricted. You must have access to it and be authenticated"
        raise Refusal(401, f"{reason} to access it. Please log in.", "GatedRepo")
    reason = f"Access to model {repository.id} is restricted and you are not in the authorized list."
    raise Refusal(403, f"{reason} Visit {call.hub.url}/{repository.id} to ask for access.", "GatedRepo")


def commit_of(repository: Repository, revision: str) -> Commit:
    commit = repository.resolve(revision or "main")
    if commit is None:
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return commit


# Accounts and repositories


@route("GET", "/api/whoami-v2")
def whoami(call: Any) -> None:
    user = user_of(call)
    if user is None:
        raise Refusal(401, "Invalid username or password.")
    role = "write" if user.write else "read"
    call.send_json({"type": "user", "name": user.name, "orgs": [], "auth": {"accessToken": {"role": role}}})


@route("POST", "/api/repos/create")
def create_repo(call: Any) -> None:
    user, wanted = user_of(call), call.json()
    if user is None:
        raise Refusal(401, "Invalid username or password.")
    namespace = wanted.get("organization") or user.name
    repo_id = f"{namespace}/{wanted['name']}"
    if namespace != user.name or not user.write:
        raise Refusal(403, f'You don\'t have the rights to create a model under the namespace "{namespace}"')
    with call.hub.lock:
        answer = {"url": f"{call.hub.url}/{repo_id}", "name": repo_id}
        if repo_id in call.hub.repositories:
            call.send_json({"error": "You already created this model repo", **answer}, 409)
            return
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        call.hub.add(repo_id, private=private)
    call.send_json(answer)


@route("POST", "/api/validate-yaml")
def validate_yaml(call: Any) -> None:
    content = call.json()["content"]
    missing = {"message": "empty or missing yaml metadata in repo card"}
    licence = re.search("^license: (.*)$", content, re.MULTILINE)
    refused = licence and licence[1] not in LICENSES
    errors = [{"message": f'"license" must be one of [{", ".join(sorted(LICENSES))}]'}] if refused else []
    warnings = [] if content.startswith("---\n") else [missing]
    call.send_json({"errors": errors, "warnings": warnings}, 400 if errors else 200)


@route("GET", MODEL + "/auth-check(?:/write)?")
def auth_check(call: Any, repo: str) -> None:
    require_access(call, repository_of(call, repo, write=call.path.endswith("/write")))
    call.send(200, b"OK")


# Looking


@route("GET", MODEL + "(?:/revision/(?P<revision>[^/]+))?")
def model_info(call: Any, repo: str, revision: str) -> None:
    repository = repository_of(call, repo)
    commit = commit_of(repository, revision)
    siblings = [{"rfilename": path} for path in sorted(commit.files)]
    if call.query.get("blobs", ["false"])[0] in TRUE:
        siblings = [{"rfilename": path, **details(commit.files[path])} for path in sorted(commit.files)]
    call.send_json(
        {
            "id": repo,
            "modelId": repo,
            "author": repository.owner,
            "sha": commit.sha,
            "private": repository.private,
            "gated": False if repository.gated_for is None else "manual",
            "disabled": False,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "tags": [],
            "siblings": siblings,
        }
    )


@route("GET", MODEL + "/tree/(?P<revision>[^/]+)")
def tree(call: Any, repo: str, revision: str) -> None:
    commit = commit_of(repository_of(call, repo), revision)
    folders = {path[:index] for path in commit.files for index, letter in enumerate(path) if letter == "/"}
    entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in folders]
    entries += [entry(path, blob) for path, blob in commit.files.items()]
    if call.query.get("recursive", ["false"])[0] not in TRUE:
        entries = [item for item in entries if "/" not in item["path"]]
    call.send_json(sorted(entries, key=lambda item: item["path"]))


@route("POST", MODEL + "/paths-info/(?P<revision>[^/]+)")
def paths_info(call: Any, repo: str, revision: str) -> None:
    files = commit_of(repository_of(call, repo), revision).files
    paths = parse_qs(call.body.decode()).get("paths", [])
    call.send_json([entry(path, files[path]) for path in paths if path in files])


@route("GET", MODEL + "/refs")
def refs(call: Any, repo: str) -> None:
    repository = repository_of(call, repo)
    kinds = {"branches": ("heads", repository.branches), "tags": ("tags", repository.tags)}
    answer: dict[str, list] = {"converts": []}
    for kind, (folder, refs) in kinds.items():
        answer[kind] = [
            {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": sha} for name, sha in refs.items()
        ]
    call.send_json(answer)


# Uploading


@route("POST", MODEL + "/preupload/(?P<revision>[^/]+)")
def preupload(call: Any, repo: str, revision: str) -> None:
    files = commit_of(repository_of(call, repo, write=True), revision).files
    answer = []
    for file in call.json()["files"]:
        path = file["path"]
        lfs = stored_as_lfs(path, file["size"], base64.b64decode(file.get("sample", "")))
        known = {"oid": files[path].etag} if path in files else {}
        answer.append({"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, **known})
    call.send_json({"files": answer})


@route("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
def lfs_batch(call: Any, repo: str) -> None:
    repository = repository_of(call, repo, write=True)
    answer = []
    for item in call.json()["objects"]:
        if item["oid"] not in repository.large:
            upload = {"href": f"{call.hub.storage_url}/storage/{repo}/{item['oid']}", "header": {}}
            verify = {"href": f"{call.hub.url}/{repo}.git/info/lfs/verify", "header": {}}
            item = {**item, "actions": {"upload": upload, "verify": verify}}
        answer.append({**item, "authenticated": True})
    call.send_json({"transfer": "basic", "objects": answer})


@route("PUT", r"/storage/(?P<repo>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})")
def store(call: Any, repo: str, oid: str) -> None:
    refuse_token(call)
    if hashlib.sha256(call.body).hexdigest() != oid:
        raise Refusal(400, "The content's SHA-256 is another")
    call.hub.repositories[repo].large[oid] = call.body
    call.send(200, b"")


@route("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/verify")
def verify(call: Any, repo: str) -> None:
    stored = repository_of(call, repo, write=True).large.get(call.json()["oid"])
    if stored is None or len(stored) != call.json()["size"]:
        raise Refusal(404, "Object does not exist")
    call.send_json({})


@route("POST", MODEL + "/commit/(?P<revision>[^/]+)")
def commit(call: Any, repo: str, revision: str) -> None:
    with call.hub.lock:
        repository = repository_of(call, repo, write=True)
        if revision not in repository.branches:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        (_, header), *operations = (tuple(json.loads(line).values()) for line in call.body.splitlines())
        if header.get("parentCommit") not in {None, repository.branches[revision]}:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files, changes = repository.commits[repository.branches[revision]].files, {}
        for kind, value in operations:
            path = value["path"]
            if kind == "file":
                changes[path] = Blob(base64.b64decode(value["content"]), lfs=False)
            elif kind == "lfsFile" and value["oid"] in repository.large:
                changes[path] = Blob(repository.large[value["oid"]], lfs=True)
            elif kind == "deletedFile" and path in files:
                changes[path] = None
            elif kind == "deletedFolder" and any(file.startswith(path) for file in files):
                changes |= {file: None for file in files if file.startswith(path)}
            elif kind.startswith("deleted"):
                raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
            else:
                raise Refusal(400, f"{kind} {path}: no such object")
        sha = repository.commit(changes, header["summary"], revision).sha
    url = f"{call.hub.url}/{repo}/commit/{sha}"
    call.send_json({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


@route("POST", MODEL + "/tag/(?P<revision>[^/]+)")
def create_tag(call: Any, repo: str, revision: str) -> None:
    repository = repository_of(call, repo, write=True)
    commit, tag = commit_of(repository, revision), call.json()["tag"]
    if tag in repository.tags:
        raise Refusal(409, f"Tag reference exists already: refs/tags/{tag}")
    repository.tags[tag] = commit.sha
    call.send_json({"success": True})


@route("POST", MODEL + "/branch/(?P<branch>[^/]+)")
def create_branch(call: Any, repo: str, branch: str) -> None:
    repository = repository_of(call, repo, write=True)
    if branch in repository.branches:
        raise Refusal(409, f"Reference already exists: refs/heads/{branch}")
    repository.branches[branch] = commit_of(repository, call.json().get("startingPoint", "")).sha
    call.send_json({"success": True})


# Downloading


@route("GET HEAD", "/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def resolve(call: Any, repo: str, revision: str, path: str) -> None:
    repository = repository_of(call, repo)
    require_access(call, repository)
    commit = commit_of(repository, revision)
    blob, named = commit.files.get(path), {"X_Repo_Commit": commit.sha}
    if blob is None:
        raise Refusal(404, "Entry not found", "EntryNotFound", **named)
    if not blob.lfs:
        send_content(call, blob.content, ETag=f'"{blob.etag}"', **named)
        return
    linked = {"X_Linked_ETag": f'"{blob.etag}"', "X_Linked_Size": str(len(blob.content))}
    location = f"{call.hub.storage_url}/storage/{repo}/{blob.sha256}"
    call.send(302, b"", Location=location, ETag=f'"{blob.git_sha}"', **named, **linked)


@route("GET HEAD", r"/storage/(?P<repo>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})")
def fetch(call: Any, repo: str, oid: str) -> None:
    refuse_token(call)
    send_content(call, call.hub.repositories[repo].large[oid], ETag=f'"{oid}"')


def send_content(call: Any, content: bytes, **headers: str) -> None:
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("Range", ""))
    if not wanted:
        call.send(200, content, Accept_Ranges="bytes", **headers)
        return
    start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
    if start >= len(content):
        raise Refusal(416, "Range not satisfiable", Content_Range=f"bytes */{len(content)}")
    total = f"bytes {start}-{min(end, len(content) - 1)}/{len(content)}"
    call.send(206, content[start : end + 1], Content_Range=total, **headers)


def refuse_token(call: Any) -> None:
    if "Authorization" in call.headers:
        raise Refusal(400, "Only one auth mechanism allowed: the token has left the Hub")


def details(blob: Blob) -> dict[str, Any]:
    """Describes a file as `/api/models/ID?blobs=true` does."""
    large = {"sha256": blob.sha256, "size": len(blob.content), "pointerSize": len(blob.pointer)}
    return {"blobId": blob.git_sha, "size": len(blob.content)} | ({"lfs": large} if blob.lfs else {})


def entry(path: str, blob: Blob) -> dict[str, Any]:
    """Describes a file as `/tree` and `/paths-info` do."""
    large = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": len(blob.pointer)}
    described = {"type": "file", "path": path, "size": len(blob.content), "oid": blob.git_sha}
    return described | ({"lfs": large} if blob.lfs else {})
