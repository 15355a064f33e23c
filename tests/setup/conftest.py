"""Synthetic photos and a web server of our own that misbehaves on request."""

import io
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image


def _picture(height=60, width=90, seed=0):
    """A smooth colourful picture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def _encode(pixels, kind="JPEG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def picture():
    return _picture


@pytest.fixture
def encode():
    return _encode


class Server:
    """Answers of a path are made by `answers[path](handler)`; `asked` counts the requests."""

    def __init__(self):
        self.answers, self.asked, self.headers = {}, Counter(), {}
        self.closing = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.root = f"http://127.0.0.1:{self.http.server_port}"

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.asked[self.path] += 1
                server.headers = dict(self.headers)
                server.answers.get(self.path, server.status(404))(self)

            def do_HEAD(self):
                server.asked[f"HEAD {self.path}"] += 1
                server.answers.get(f"HEAD {self.path}", server.status(501))(self)

            def log_message(self, *_):
                pass

        return Handler

    def body(self, data, **headers):
        """An answer with 200 and these bytes."""

        def answer(handler):
            handler.send_response(200)
            for name, value in ({"Content_Length": len(data)} | headers).items():
                handler.send_header(name.replace("_", "-"), str(value))
            handler.end_headers()
            handler.wfile.write(data)

        return answer

    def status(self, code, **headers):
        """An answer without a body."""

        def answer(handler):
            handler.send_response(code)
            for name, value in ({"Content_Length": 0} | headers).items():
                handler.send_header(name.replace("_", "-"), str(value))
            handler.end_headers()

        return answer

    def in_turn(self, *answers):
        """One answer after the other, the last one for ever."""
        left = list(answers)
        return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)

    def slow(self, answer, seconds):
        """An answer that takes its time."""

        def wait(handler):
            time.sleep(seconds)
            answer(handler)

        return wait

    def never(self, handler):
        """No answer until the test is over."""
        self.closing.wait(20)
        handler.close_connection = True


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.closing.set()
    server.http.shutdown()
    thread.join()
    server.http.server_close()
