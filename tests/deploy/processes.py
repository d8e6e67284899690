"""Processes and servers on loopback, all of which end with the block that started them."""

import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import queue
import socket
import subprocess
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
HOOKFERRY = os.environ.get("HOOKFERRY", str(TARGET / "debug" / "hookferry"))
# How long anything here may take before the test fails.
PATIENCE = 60


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(condition, what):
    """Waits for a condition; fails, saying what was waited for."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {PATIENCE} s")


def get(url):
    """Status and text, or none while nothing answers."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return None
    finally:
        connection.close()


@contextlib.contextmanager
def process(arguments, environment=None, prefix=(), binary=None):
    """hookferry with this environment and no other; yields the process and what it has written so far."""
    everything = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_EC2_METADATA_DISABLED": "true"}
    everything |= environment or {}
    started = subprocess.Popen(
        [*prefix, binary or HOOKFERRY, *arguments],
        env=everything, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    lines = []

    def read():
        for line in started.stdout:
            lines.append(line.rstrip("\n"))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield started, lines
    finally:
        if started.poll() is None:
            started.terminate()
            try:
                started.wait(40)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
        reader.join(10)


def run(arguments, environment=None, stdin=None, expect=0):
    """hookferry to its end; its output."""
    everything = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_EC2_METADATA_DISABLED": "true"}
    everything |= environment or {}
    ended = subprocess.run(
        [HOOKFERRY, *arguments], env=everything, input=stdin, stdin=None if stdin else subprocess.DEVNULL,
        capture_output=True, text=True, timeout=PATIENCE * 2,
    )
    assert expect is None or ended.returncode == expect, (arguments, ended.returncode, ended.stdout, ended.stderr)
    return ended.stdout + ended.stderr


@contextlib.contextmanager
def local_queue(*queues):
    """The local queue with these queues and a dead-letter queue; yields its endpoint."""
    port = free_port()
    arguments = ["local-queue", "--listen", f"127.0.0.1:{port}", "--dead-letter"]
    for name in queues:
        arguments += ["--queue", name]
    with process(arguments):
        endpoint = f"http://127.0.0.1:{port}"
        until(lambda: get(endpoint), "the local queue answers")
        yield endpoint


class Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def served(handler):
    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextlib.contextmanager
def receiver(secret):
    """Takes webhooks: /STATUS/… answers with that status. Yields its address and a queue of (path, headers, body)."""
    arrived = queue.Queue()

    class Receiver(Quiet):
        def do_POST(self):
            body = self.body()
            expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            genuine = self.headers["x-pusher-signature"] == expected
            status = int(self.path.split("/")[1]) if genuine else 401
            self.answer(status, b"")
            arrived.put((self.path, dict(self.headers), json.loads(body)))

    with served(Receiver) as address:
        yield address, arrived


@contextlib.contextmanager
def recorded(endpoint):
    """A way to an SQS endpoint that notes each call; yields its address and the set of (queue's name, action)."""
    upstream = urllib.parse.urlsplit(endpoint)
    calls = set()

    class Proxy(Quiet):
        def do_POST(self):
            body = self.body()
            action = (self.headers["x-amz-target"] or "").rpartition(".")[2]
            parameters = json.loads(body or b"{}")
            name = parameters.get("QueueUrl", parameters.get("QueueName", "")).rpartition("/")[2]
            calls.add((name, action))
            onward = http.client.HTTPConnection(upstream.hostname, upstream.port, timeout=60)
            try:
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                onward.request("POST", self.path, body, headers | {"host": upstream.netloc})
                answer = onward.getresponse()
                self.answer(answer.status, answer.read(), [
                    (k, v) for k, v in answer.getheaders() if k.lower() not in ("content-length", "connection")
                ])
            finally:
                onward.close()

    with served(Proxy) as address:
        yield address, calls
