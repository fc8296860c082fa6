"""probe and certificates, which are made by the openssl of the system."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.http_client.probe import NoAnswer, probe
from tests.support.fakes.scripted_web import OK, ScriptedServer, answering, make_certificate


def test_a_certificate_that_is_not_trusted_is_told(tmp_path: Path):
    certificate = make_certificate(tmp_path, "IP:127.0.0.1")
    with ScriptedServer(answering(OK), certificate.server_context()) as server, pytest.raises(NoAnswer) as caught:
        probe(server.url())

    assert str(caught.value).startswith("the certificate of 127.0.0.1 is not right (self")
    assert server.requests == []
