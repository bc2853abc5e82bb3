"""A hub on the loopback: the REST calls that huggingface_hub makes, in memory.

As observed in huggingface_hub 2.4: creating a repository, validating its card,
uploading (regular and LFS files) in one commit, reading its state, downloading. Faults
are switched on by name.
"""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LFS = (".ckpt", ".wav")
EMPTY = "0" * 40


class Repo:
    """A repository: its commits, each a dict of name to content."""

    def __init__(self, private):
        self.private = private
        self.commits = [(EMPTY, {})]

    @property
    def head(self):
        return self.commits[-1][0]

    def files(self, revision):
        return (
            next(
                (files for sha, files in self.commits if revision in (sha, "main")),
                None,
            )
            if revision != "main"
            else self.commits[-1][1]
        )


class Hub:
    """The state of the server, and its fault."""

    def __init__(self, token="hf_secretsecretsecret"):
        self.token = token
        self.repos = {}
        self.lfs = {}  # sha256 to content
        self.calls = []  # "METHOD /path"
        self.tokens = set()  # received
        self.fault = None  # see `Handler.faulty`
        self.endpoint = None

    def count(self, pattern):
        return sum(bool(re.search(pattern, call)) for call in self.calls)


@contextmanager
def running(hub):
    """Run the hub at `hub.endpoint` in this context."""
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def blob_id(content):
    """Return git's hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Responds to one request."""

    hub = None
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """No log."""

    # --- Requests and responses -------------------------------------------------------

    def do_GET(self):
        self.respond("GET")

    def do_HEAD(self):
        self.respond("HEAD")

    def do_POST(self):
        self.respond("POST")

    def do_PUT(self):
        self.respond("PUT")

    def respond(self, method):
        path = self.path.split("?")[0]
        self.hub.calls.append(f"{method} {path}")
        bearer = self.headers.get("Authorization", "")
        if bearer:
            self.hub.tokens.add(bearer.removeprefix("Bearer "))
        if self.faulty(method, path):
            return
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        for pattern, routed, name in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method in routed.split():
                getattr(self, name)(*match.groups())
                return
        self.send(404, {"error": f"no such call: {method} {path}"})

    def faulty(self, method, path):
        """Apply `hub.fault` to its requests: (pattern, "500" | "cut" | "403")."""
        if self.hub.fault is None:
            return False
        pattern, kind = self.hub.fault
        if not re.search(pattern, f"{method} {path}"):
            return False
        if kind == "cut":
            self.rfile.read(min(1000, int(self.headers.get("Content-Length") or 0)))
            self.close_connection = True
            self.connection.close()
        elif kind == "cut after":
            return False
        else:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send(int(kind), {"error": f"a fault: {kind}"})
        return True

    def send(self, status, content, headers=()):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers = {"Content-Type": "application/json", **dict(headers)}
        self.send_response(status)
        for key, value in dict(headers).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def authorized(self):
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def repo(self, name, write=False):
        """Return the repository, or None after sending an error."""
        repo = self.hub.repos.get(name)
        if (write or (repo and repo.private)) and not self.authorized():
            self.send(
                401,
                {"error": "Invalid username or password."},
                {"X-Error-Code": "RepoNotFound"} if not write else {},
            )
            return None
        if repo is None:
            self.send(
                404,
                {"error": "Repository not found"},
                {"X-Error-Code": "RepoNotFound"},
            )
        return repo

    # --- Calls ------------------------------------------------------------------------

    def create(self):
        if not self.authorized():
            self.send(401, {"error": "Invalid username or password."})
            return
        request = json.loads(self.body)
        name = f"{request['organization']}/{request['name']}"
        answer = {"url": f"{self.hub.endpoint}/{name}"}
        if name in self.hub.repos:
            self.send(409, {**answer, "error": "You already created this model repo"})
            return
        private = request.get("private") or request.get("visibility") == "private"
        self.hub.repos[name] = Repo(bool(private))
        self.send(200, answer)

    def validate(self):
        content = json.loads(self.body)["content"]
        errors = []
        license_line = re.search(r"^license: *(.*)$", content, flags=re.MULTILINE)
        if license_line is None or license_line.group(1) in ("", '""'):
            errors = [{"message": '"license" is required'}]
        self.send(200 if not errors else 400, {"errors": errors, "warnings": []})

    def preupload(self, name, revision):
        repo = self.repo(name, write=True)
        if repo is None:
            return
        present, answer = repo.files("main"), []
        for file in json.loads(self.body)["files"]:
            path = file["path"]
            lfs = path.endswith(LFS)
            entry = {
                "path": path,
                "uploadMode": "lfs" if lfs else "regular",
                "shouldIgnore": False,
            }
            if path in present:
                entry["oid"] = (sha256 if lfs else blob_id)(present[path])
            answer.append(entry)
        self.send(200, {"files": answer})

    def lfs_batch(self, name):
        if self.repo(name, write=True) is None:
            return
        objects = []
        for item in json.loads(self.body)["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.lfs:
                href = f"{self.hub.endpoint}/storage/{item['oid']}"
                entry["actions"] = {"upload": {"href": href}}
            objects.append(entry)
        self.send(
            200,
            {"transfer": "basic", "objects": objects},
            {"Content-Type": "application/vnd.git-lfs+json"},
        )

    def store(self, oid):
        if sha256(self.body) != oid:
            self.send(400, {"error": "other content than announced"})
            return
        self.hub.lfs[oid] = self.body
        self.send(200, b"")

    def commit(self, name, revision):
        repo = self.repo(name, write=True)
        if repo is None:
            return
        files = dict(repo.files("main"))
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
        sha = hashlib.sha1(self.body + repo.head.encode()).hexdigest()
        repo.commits.append((sha, files))
        if self.hub.fault == ("commit", "cut after"):
            self.close_connection = True
            self.connection.close()
            return
        url = f"{self.hub.endpoint}/{name}/commit/{sha}"
        self.send(200, {"success": True, "commitOid": sha, "commitUrl": url})

    def info(self, name, revision="main"):
        repo = self.repo(name)
        if repo is None:
            return
        files = repo.files(revision)
        if files is None:
            self.send(
                404,
                {"error": "Invalid rev id"},
                {"X-Error-Code": "RevisionNotFound"},
            )
            return
        sha = repo.head if revision == "main" else revision
        state = {"id": name, "modelId": name, "sha": sha, "private": repo.private}
        self.send(200, {**state, "siblings": [{"rfilename": n} for n in files]})

    def tree(self, name, revision):
        repo = self.repo(name)
        if repo is None:
            return
        entries = []
        for path, content in sorted(repo.files(revision).items()):
            entry = {"type": "file", "path": path, "size": len(content)}
            entry["oid"] = blob_id(content)
            if path.endswith(LFS):
                lfs = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
                entry["lfs"] = lfs
            entries.append(entry)
        self.send(200, entries)

    def resolve(self, name, revision, path):
        repo = self.repo(name)
        if repo is None:
            return
        files = repo.files(revision)
        if files is None:
            self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return
        if path not in files:
            self.send(
                404,
                b"",
                {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.head},
            )
            return
        content = files[path]
        etag = sha256(content) if path.endswith(LFS) else blob_id(content)
        sha = repo.head if revision == "main" else revision
        headers = {"X-Repo-Commit": sha, "ETag": f'"{etag}"'}
        if path.endswith(LFS):
            headers |= {"X-Linked-ETag": f'"{etag}"', "X-Linked-Size": len(content)}
        self.send(200, content, headers)


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    (r"/api/repos/create", "POST", "create"),
    (r"/api/validate-yaml", "POST", "validate"),
    (rf"/api/models/{NAME}/preupload/([\w.-]+)", "POST", "preupload"),
    (rf"/{NAME}\.git/info/lfs/objects/batch", "POST", "lfs_batch"),
    (r"/storage/(\w+)", "PUT", "store"),
    (rf"/api/models/{NAME}/commit/([\w.-]+)", "POST", "commit"),
    (rf"/api/models/{NAME}/revision/([\w.-]+)", "GET", "info"),
    (rf"/api/models/{NAME}/tree/([\w.-]+)", "GET", "tree"),
    (rf"/api/models/{NAME}", "GET", "info"),
    (rf"/{NAME}/resolve/([\w.-]+)/(.+)", "GET HEAD", "resolve"),
]
