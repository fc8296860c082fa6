"""A web server that does exactly what a test says, byte by byte, over TCP or TLS; and certificates for it.

Real sockets on loopback. What goes wrong in a script is kept, and raised where the test leaves the server.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.support.need import need
from tests.support.waiting import PATIENCE_SECONDS

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Request:
    """`headers` by lower-case name; `line` is the request line."""

    line: str
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """The server's end of one connection."""

    def __init__(self, accepted: socket.socket, stopping: threading.Event) -> None:
        self.socket = accepted
        self.stopping = stopping

    def read_request(self) -> Request | None:
        """The next request; None when the other side closed instead of sending one."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(65536)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        line, *fields = head.decode("ascii").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        while len(body) < int(headers.get("content-length", "0")):
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("the request broke off")
            body += piece
        return Request(line, headers, body)

    def send(self, data: bytes) -> None:
        """All of it."""
        self.socket.sendall(data)


Script = Callable[[Connection, "ScriptedServer"], None]


class ScriptedServer:
    """Runs `script` in a thread of its own for every connection; usable from `with` on.

    `context`: a server context for TLS. `host` is the loopback address to listen on.
    """

    def __init__(self, script: Script, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._script = script
        self._context = context
        self._failures: list[Exception] = []
        self._threads: list[threading.Thread] = []
        self._served: list[socket.socket] = []
        self._stopping = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind((host, 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]

    def url(self, path: str = "/bot.php", host: str = "127.0.0.1") -> str:
        """The address of `path` on it."""
        return f"{'https' if self._context else 'http'}://{host}:{self.port}{path}"

    def __enter__(self) -> ScriptedServer:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for waited_for in (self._listener, *self._served):
            with contextlib.suppress(OSError):
                waited_for.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts or reads
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=PATIENCE_SECONDS)
            assert not thread.is_alive(), "a script did not end"
        if error is None and self._failures:
            raise self._failures[0]

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(lambda accepted=accepted: self._serve(accepted))  # type: ignore[misc]

    def _serve(self, accepted: socket.socket) -> None:
        accepted.settimeout(20)
        with accepted:
            try:
                wrap = self._context.wrap_socket if self._context else None
                with wrap(accepted, server_side=True) if wrap else accepted as served:
                    self._served.append(served)
                    self._script(Connection(served, self._stopping), self)
            except (ConnectionError, ssl.SSLError):
                return  # the runner went away, which is what some tests are about
            except Exception as error:  # noqa: BLE001  # kept for the test
                self._failures.append(error)


def answering(*answers: bytes) -> Script:
    """A script that gives these answers, one per request, the last one again and again, on kept connections."""

    def script(connection: Connection, server: ScriptedServer) -> None:
        while (request := connection.read_request()) is not None:
            server.requests.append(request)
            connection.send(answers[min(len(server.requests), len(answers)) - 1])

    return script


@dataclass(frozen=True)
class Certificate:
    """Files of a certificate that vouches for itself, and of its key."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """For a server that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def trusting_context(self) -> ssl.SSLContext:
        """For a client that trusts it, and otherwise checks what clients check by default."""
        return ssl.create_default_context(cafile=str(self.certificate))


def make_certificate(folder: Path, names: str, *, ran_out: bool = False) -> Certificate:
    """One for `names` as OpenSSL writes them, such as `DNS:localhost,IP:127.0.0.1`; `ran_out`: valid in 2020 only."""
    need(None if shutil.which("openssl") else "openssl is not installed")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(made.key)]
    request = ["-subj", "/CN=a test", "-addext", f"subjectAltName={names}"]
    if not ran_out:
        _openssl("req", "-x509", *key, *request, "-days", "2", "-out", str(made.certificate))
        return made
    wanted, settings = folder / "wanted.pem", folder / "authority.cnf"
    settings.write_text(
        f"[ca]\ndefault_ca=a\n[a]\ndatabase={folder}/issued\nrand_serial=yes\nnew_certs_dir={folder}\n"
        "default_md=sha256\npolicy=p\ncopy_extensions=copyall\n[p]\ncommonName=supplied\n"
    )
    (folder / "issued").write_text("")
    _openssl("req", "-new", *key, *request, "-out", str(wanted))
    _openssl(
        "ca",
        "-batch",
        "-selfsign",
        "-config",
        str(settings),
        "-in",
        str(wanted),
        "-keyfile",
        str(made.key),
        "-out",
        str(made.certificate),
        "-startdate",
        "20200101000000Z",
        "-enddate",
        "20200102000000Z",
    )
    return made


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
