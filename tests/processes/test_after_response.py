"""Work after a CGI response, in a real process: the response ends, and the process goes on."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.support.places import REPOSITORY

END_THE_ANSWER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from scalable.lib.ingest.after_response import end_cgi_answer
print("answer", flush=True)
end_cgi_answer()
print("not for the visitor", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
sys.stdin.readline()
os.execv("/bin/sh", ["/bin/sh", "-c", "kill -TERM $$; echo a program that is started does not listen >&2"])
"""


def test_a_cgi_answer_ends_while_the_process_goes_on_and_is_deaf_to_term():
    process = subprocess.Popen(
        [sys.executable, "-c", END_THE_ANSWER, str(REPOSITORY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read() == b"answer\n"  # to its end, as the web server reads it
    assert process.poll() is None

    _, errors = process.communicate(b"go on\n", timeout=30)

    assert (process.returncode, errors) == (-signal.SIGTERM, b"")  # what it starts is ended by TERM as ever
