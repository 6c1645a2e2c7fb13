"""An S3 server for the tests: moto's, with the faults of real ones.

Usage: server.py FOLDER. Uploads the folder's files into the bucket `bucket`, prints the port, and serves until standard input
closes.

Faults, by words in a key: `denied` is refused (403), `slow` is throttled (503 SlowDown) the first two times that it is
read, `cut` breaks off in the middle the first time, `rewritten` is written anew just before it is first asked for as it was
(If-Match). `GET /counts` gives the requests so far. After `GET /hold/WORDS` the first request to write a key with these words
waits until `GET /release`. The access key `no-attempts` may not write below `/attempts/`. After
`GET /fault/METHOD/KIND/TIMES/WORDS?by=KEY` so many requests of that method to a key with these words, by that access key, are
`slow` or `denied` as above, `cut` off in the middle of the answer, or `lost`: done, but never answered. They are counted as `KIND WORDS`.
"""

import collections
import io
import json
import pathlib
import sys
import threading

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "bucket"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "secret-of-the-tests"}


def error(start_response, status, code):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


class Armed:
    """A fault that some requests are still to meet."""

    def __init__(self, path, query):
        self.method, self.kind, times, self.words = path.removeprefix("/fault/").split("/", 3)
        self.left = int(times)
        self.by = f"Credential={query.removeprefix('by=')}/"

    def meets(self, method, path, environ):
        by = self.by in environ.get("HTTP_AUTHORIZATION", "")
        return self.left > 0 and method == self.method and self.words in path and by


class Faults:
    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.read = collections.Counter()
        self.on = False
        self.rewrite = None
        self.hold = None
        self.released = threading.Event()
        self.armed = []

    def __call__(self, environ, start_response):
        path, query, method = environ["PATH_INFO"], environ.get("QUERY_STRING", ""), environ["REQUEST_METHOD"]
        if path == "/counts":
            body = json.dumps(self.counts).encode()
            start_response("200 OK", [("Content-Length", str(len(body)))])
            return [body]
        if path.startswith("/hold/"):
            self.released.clear()
            self.hold = path.removeprefix("/hold/")
            start_response("200 OK", [("Content-Length", "0")])
            return [b""]
        if path == "/release":
            self.released.set()
            start_response("200 OK", [("Content-Length", "0")])
            return [b""]
        if path.startswith("/fault/"):
            with self.lock:
                self.armed.append(Armed(path, query))
            start_response("200 OK", [("Content-Length", "0")])
            return [b""]
        with self.lock:
            fault = next((armed for armed in self.armed if armed.meets(method, path, environ)), None)
            if fault:
                fault.left -= 1
                self.counts[f"{fault.kind} {fault.words}"] += 1
        if fault:
            return self.failed(fault.kind, environ, start_response)
        if method == "PUT" and "/attempts/" in path and "Credential=no-attempts/" in environ.get("HTTP_AUTHORIZATION", ""):
            return error(start_response, "403 Forbidden", "AccessDenied")
        with self.lock:
            held = method == "PUT" and self.hold is not None and self.hold in path
            if held:
                self.hold = None
                self.counts["held"] += 1
        if held:
            # What was sent is read now, as its sender may be gone by then.
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            self.released.wait(120)
        with self.lock:
            self.counts[method] += 1
            if method == "POST" and query.startswith("uploads"):
                self.counts["multipart"] += 1
            seen = 0
            if method == "GET" and self.on:
                seen = self.read[path]
                self.read[path] += 1
        if method == "GET" and self.on:
            if "denied" in path:
                return error(start_response, "403 Forbidden", "AccessDenied")
            if "slow" in path and seen < 2:
                with self.lock:
                    self.counts["throttled"] += 1
                return error(start_response, "503 Slow Down", "SlowDown")
            if "cut" in path and seen == 0:
                with self.lock:
                    self.counts["cut"] += 1
                return self.half(environ, start_response)
            if "rewritten" in path and "HTTP_IF_MATCH" in environ:
                with self.lock:
                    again, self.rewrite = self.rewrite, None
                if again:
                    again(path.removeprefix(f"/{BUCKET}/"))
        return self.app(environ, start_response)

    def failed(self, kind, environ, start_response):
        if kind == "cut":
            return self.half(environ, start_response)
        if kind == "lost":
            b"".join(self.app(environ, lambda *_: None))
            raise ConnectionResetError("lost, as the test wants")
        # What was sent is read, or its sender would see a broken connection.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if kind == "slow":
            return error(start_response, "503 Slow Down", "SlowDown")
        return error(start_response, "403 Forbidden", "AccessDenied")

    def half(self, environ, start_response):
        body = b"".join(self.app(environ, start_response))

        def chunks():
            yield body[: len(body) // 2]
            raise ConnectionResetError("cut off, as the test wants")

        return chunks()


def main(folder):
    faults = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, faults, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server.port}", region_name="us-east-1", **KEYS)
    client.create_bucket(Bucket=BUCKET)
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file():
            client.upload_file(str(path), BUCKET, str(path.relative_to(folder)))
    faults.rewrite = lambda key: client.put_object(Bucket=BUCKET, Key=key, Body=b"another file")
    faults.counts.clear()
    faults.on = True
    print(server.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
