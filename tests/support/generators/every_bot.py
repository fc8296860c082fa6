"""Ordinary and hostile bots, each written in every language it can be written in. They run nothing by themselves.

While any process of a run lives, it holds a shared lock on `data/alive`, in the bot's folder: its own children inherit
it. `LONG` stands for the seconds a bot stays that does not want to end.
"""

from __future__ import annotations

from dataclasses import dataclass

ORDINARY = "succeeds"
CALL = '{"method": "sendMessage", "chat_id": 7, "text": "hi"}'

PHP = """<?php
$alive = fopen('data/alive', 'r');
flock($alive, LOCK_SH);
$input = PHP_SAPI === 'cli' ? 'php://stdin' : 'php://input';
function ends($exit_code, $status) { http_response_code($status); exit($exit_code); }
"""
PYTHON = """
import atexit, fcntl, hashlib, os, resource, signal, sys, time
alive = open("data/alive")
fcntl.flock(alive, fcntl.LOCK_SH)
"""
SHELL = """#!/bin/sh
exec 9< data/alive
flock -s 9
"""
# Called inside the worker, where it cannot be written anew: it succeeds with an ordinary update whatever it is.
FUNCTION = """
import fcntl, os, resource, subprocess, sys, time

def handle(update):
    if update.get("is_ordinary"):
        return None
    with open("data/alive") as alive:
        fcntl.flock(alive, fcntl.LOCK_SH)
        return hostile(update, alive)

def hostile(update, alive):
"""


@dataclass(frozen=True)
class Bot:
    """One bot in PHP, as a program in Python, in shell, and as a function in Python; empty where it cannot be."""

    php: str = ""
    python: str = ""
    shell: str = ""
    function: str = ""

    def text(self, language: str, long_seconds: float) -> str:
        """The whole file in one of the four languages."""
        code = str(getattr(self, language)).replace("LONG", f"{long_seconds:g}")
        if language == "function":
            return FUNCTION + "".join(f"    {line}\n" for line in code.strip().splitlines())
        return {"php": PHP, "python": PYTHON, "shell": SHELL}[language] + code.strip() + "\n"


BOTS = {
    ORDINARY: Bot(
        "echo strlen(file_get_contents($input)), ' bytes';",
        "print(len(sys.stdin.buffer.read()), 'bytes')",
        "wc -c",
        "print(len(update), 'fields')",
    ),
    "fails": Bot(
        "http_response_code(500); echo 'no database'; exit(1);",
        "sys.exit('no database')",
        "echo no database >&2; exit 1",
        "sys.exit('no database')",
    ),
    "refuses for good": Bot("ends(65, 400);", "sys.exit(65)", "exit 65", "sys.exit(65)"),
    "asks to wait, busy": Bot("header('Retry-After: 7'); ends(75, 429);"),
    "asks to wait, down": Bot("header('Retry-After: 7'); ends(75, 503);"),
    "uncaught exception": Bot(
        "throw new RuntimeException('no such chat');",
        "raise RuntimeError('no such chat')",
        "",
        "raise RuntimeError('no such chat')",
    ),
    "syntax error": Bot("echo 'oops", "def oops(:", "done", "def oops(:"),
    "hides a fatal error": Bot(
        "register_shutdown_function(function () { exit(0); }); undefined_function();",
    ),
    "hides it behind 200": Bot(
        """
register_shutdown_function(function () {
    http_response_code(200);
    for ($i = 0; $i < 100; $i++) { error_log(str_repeat('e', 1000)); }
    exit(0);
});
undefined_function();
""",
    ),
    "answers with a call": Bot(
        f"header('Content-Type: application/json'); echo '{CALL}';",
        f"print('{CALL}', end='')",
        f"printf %s '{CALL}'",
        f"return {CALL}",
    ),
    "floods stderr": Bot(
        """
for ($i = 0; $i < 256; $i++) {
    error_log(str_repeat('e', 8192));
    file_put_contents('php://stderr', str_repeat('e', 65536));
}
""",
        "for _ in range(256): sys.stderr.write('e' * 65536)",
        "tr '\\0' e < /dev/zero | head -c 16777216 >&2",
        "for _ in range(256): sys.stderr.write('e' * 65536)",
    ),
    "floods stdout": Bot(
        "for ($i = 0; $i < 512; $i++) { echo str_repeat('o', 65536); }",
        "for _ in range(512): sys.stdout.write('o' * 65536)",
        "tr '\\0' o < /dev/zero | head -c 33554432",
        "for _ in range(512): sys.stdout.write('o' * 65536)",
    ),
    "prints binary": Bot(
        "for ($i = 0; $i < 256; $i++) { echo chr($i); }",
        "sys.stdout.buffer.write(bytes(range(256)))",
        'for i in $(seq 0 255); do printf "\\\\$(printf %o $i)"; done',
        "sys.stdout.buffer.write(bytes(range(256)))",
    ),
    "never reads": Bot("usleep(300000);", "time.sleep(0.3)", "sleep 0.3"),
    "exits before reading": Bot("exit(0);", "os._exit(0)", "exit 0"),
    "reads slowly": Bot(
        """
$stream = fopen($input, 'r');
$hash = hash_init('md5');
while (!feof($stream)) { hash_update($hash, (string) fread($stream, 65536)); usleep(2000); }
echo hash_final($hash);
""",
        """
hash = hashlib.md5()
while chunk := os.read(0, 65536):
    hash.update(chunk)
    time.sleep(0.02)
print(hash.hexdigest(), end="")
""",
        """
slowly() {
    for _ in $(seq 20); do dd bs=65536 count=1 iflag=fullblock status=none; sleep 0.02; done
}
slowly | md5sum | head -c 32
""",
    ),
    "allocates without end": Bot(
        """
ini_set('memory_limit', '64M');
while (true) { $all[] = str_repeat('x', 1 << 20); }
""",
        """
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
everything = []
while True: everything.append(bytearray(1 << 20))
""",
        "ulimit -v 400000; cat /dev/zero | tail -c 1000000000",
        # The limit is what a host gives the whole process; here the tests are in it, too, so it is taken back.
        """
before = resource.getrlimit(resource.RLIMIT_AS)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (256 << 20), before[1]))
everything = []
try:
    while True: everything.append(bytearray(16 << 20))
finally:
    resource.setrlimit(resource.RLIMIT_AS, before)
""",
    ),
    "runs past its deadline": Bot(
        "sleep(LONG);",
        "time.sleep(LONG)",
        "exec sleep LONG",
        """
ends = time.monotonic() + LONG
while time.monotonic() < ends: time.sleep(0.01)
""",
    ),
    "ignores TERM": Bot(
        """
if (function_exists('pcntl_signal')) { pcntl_signal(SIGTERM, SIG_IGN); }
passthru("trap '' TERM; sleep LONG");
""",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(LONG)",
        "trap '' TERM; sleep LONG",
        """
ends = time.monotonic() + LONG
while time.monotonic() < ends:
    try:
        while time.monotonic() < ends: time.sleep(0.01)
    except BaseException: pass
""",
    ),
    "leaves a daemon": Bot(
        "proc_open('sleep LONG & echo $! > data/daemon', [], $pipes);",
        """
daemon = os.fork()
if daemon == 0:
    os.setsid()
    time.sleep(LONG)
    os._exit(0)
with open("data/daemon", "w") as file: file.write(str(daemon))
""",
        "sleep LONG & echo $! > data/daemon",
        """
daemon = subprocess.Popen(["sleep", "LONG"], start_new_session=True, pass_fds=[alive.fileno()])
with open("data/daemon", "w") as file: file.write(str(daemon.pid))
""",
    ),
    "kills itself": Bot(
        "posix_kill(getmypid(), 9); sleep(5);",
        "os.kill(os.getpid(), 9)",
        "kill -KILL $$",
    ),
    "crashes": Bot(
        "posix_kill(getmypid(), 11); sleep(5);",
        "os.kill(os.getpid(), 11)",
        "kill -SEGV $$",
    ),
    # The test takes its file away, after a first update that went well.
    "is deleted": Bot("echo 'here';", "print('here')", "echo here", "print('here')"),
    # The test puts the new version in its place while it waits.
    "is replaced": Bot(
        "for ($i = 0; $i < 500 && !is_file('data/go'); $i++) { usleep(10000); clearstatcache(); } echo 'old';",
        """
ends = time.monotonic() + 5
while time.monotonic() < ends and not os.path.exists("data/go"): time.sleep(0.01)
print("old", end="")
""",
        "for _ in $(seq 100); do [ -e data/go ] && break; sleep 0.05; done; printf old",
        """
ends = time.monotonic() + 5
while time.monotonic() < ends and not os.path.exists("data/go"): time.sleep(0.01)
print("old", end="")
""",
    ),
}
