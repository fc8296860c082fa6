"""A bot inside this process: imported once, from its own folder, and shared by the runners that call it.

While a runner uses it, the bot's folder is the process's working directory, as in every other way to run it, the umask
lets others read the bot's files, and what the bot prints is kept with its runs. All that is undone when the last runner
leaves. What was imported stays, as ever in Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any, Optional, cast

from scalable.lib.errors import BotMissing
from scalable.lib.inherited_umask import share_umask_with_bot, take_umask_back
from scalable.lib.runners.bot_file import check_bot_file
from scalable.lib.runners.python.bot_loop import BotLoop
from scalable.lib.runners.python.bot_thread import StoppedByWorker
from scalable.lib.runners.python.exceptions import cause_of
from scalable.lib.runners.python.printed_output import PrintedStreams

# A file that changed less than this ago may still be being uploaded.
SETTLED_SECONDS = 2.0
Version = tuple[int, int, int]


class BotModule:
    """The bot in `file`. Made by `bot_module_of`, so that a process has one of a file. Shared between threads."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._users = 0
        self._loop: Optional[BotLoop] = None
        self._was_stuck = False
        self._version: Optional[Version] = None
        self._module: Optional[ModuleType] = None
        self._streams = PrintedStreams()
        self._folder_before: Optional[str] = None
        self._lock = threading.Lock()
        self._importing = threading.Lock()

    @property
    def loop(self) -> BotLoop:
        """Where its async function runs, between `enter` and `leave`."""
        assert self._loop is not None, "enter first"
        return self._loop

    @property
    def is_stuck(self) -> bool:
        """Whether something in its loop goes on although it was told to stop, or did so when the loop was closed."""
        return self._was_stuck or (self._loop is not None and self._loop.is_stuck)

    @property
    def is_stale(self) -> bool:
        """Whether its file is another one than was imported; not while it is away, or may be half of an upload."""
        if self._version is None:
            return False
        try:
            found = os.stat(self.file)
        except OSError:
            return False
        return _version(found) != self._version and not 0 <= time.time() - found.st_mtime < SETTLED_SECONDS

    def enter(self) -> None:
        """Count one more runner that uses it. Raises BotMissing when there is no such file; then it is not counted."""
        check_bot_file(self.file)
        with self._lock:
            if self._users == 0:
                self._loop = BotLoop()
                self._change_to_its_folder()
                share_umask_with_bot()
                self._streams.install()
            self._users += 1

    def leave(self, before_the_loop_closes: Callable[[], None]) -> None:
        """Count one runner less; for the last one `before_the_loop_closes` is called."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            before_the_loop_closes()
            self._was_stuck = self.is_stuck
            self.loop.close()
            self._loop = None
            self._streams.remove()
            take_umask_back()
            if self._folder_before is not None:
                with contextlib.suppress(OSError):  # it was removed meanwhile
                    os.chdir(self._folder_before)

    def load(self) -> ModuleType:
        """Its module, imported when that was not done yet. Raises BotMissing with what the import raised."""
        while not self._importing.acquire(timeout=0.1):  # in small pieces: a long one could not be interrupted
            pass
        try:
            if self._module is None:
                self._module = self._import()
            return self._module
        finally:
            self._importing.release()

    def optional(self, name: str) -> Optional[Callable[[], object]]:
        """The function of that name, when the module is there and has it."""
        found = getattr(self._module, name, None)
        return found if callable(found) else None

    def _change_to_its_folder(self) -> None:
        try:
            self._folder_before = os.getcwd()
        except OSError:  # it was removed
            self._folder_before = None
        os.chdir(self.file.parent)

    def _import(self) -> ModuleType:
        """With the bot's loop as the current one, for what asks for it or, before Python 3.10, is tied to it."""
        folder = str(self.file.parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)  # first, where Python itself puts the folder of a script
        importlib.invalidate_caches()
        asyncio.set_event_loop(self.loop.loop)
        try:
            version = _version(os.stat(self.file))
            module = _executed(_free_name(self.file), self.file)
            self._version = version
            return module
        except StoppedByWorker:
            raise
        except BaseException as error:
            raise BotMissing(_failed_import(self.file, error)) from error
        finally:
            asyncio.set_event_loop(None)


# Modules belong to the process, in sys.modules as here.
_BOTS: dict[Path, BotModule] = {}
_BOTS_LOCK = threading.Lock()


def bot_module_of(file: Path) -> BotModule:
    """The bot of `file` in this process; nothing is opened or imported yet."""
    with _BOTS_LOCK:
        if file not in _BOTS:
            _BOTS[file] = BotModule(file)
        return _BOTS[file]


def find_function(module: ModuleType, name: str, file: Path) -> Callable[[Any], object]:
    """The function `name` of the bot. Raises BotMissing, saying what it should be, when it cannot take an update."""
    expected = f"expected `def {name}(update)` or `async def {name}(update)` in it"
    function = getattr(module, name, None)
    if function is None:
        raise BotMissing(f"BOT_LEGACY_PATH: {file} has no {name}; {expected}")
    if not callable(function):
        raise BotMissing(f"BOT_LEGACY_PATH: {name} in {file} is a {type(function).__name__}; {expected}")
    try:
        inspect.signature(function).bind({})
    except TypeError:
        seen = f"{name}{inspect.signature(function)}"
        raise BotMissing(f"BOT_LEGACY_PATH: {seen} in {file} cannot be called with an update; {expected}") from None
    except ValueError:  # written in C: it has no signature
        pass
    return cast(Callable[[Any], object], function)


def is_async(function: Callable[..., object]) -> bool:
    """Whether it is `async def`, or an object that is called like one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _version(found: os.stat_result) -> Version:
    return found.st_mtime_ns, found.st_size, found.st_ino


def _free_name(file: Path) -> str:
    """The file's own name, for modules of the bot that import it, unless another module has it."""
    name = file.stem.replace(".", "_")
    taken = name in sys.modules or name in getattr(sys, "stdlib_module_names", sys.builtin_module_names)
    return f"{name}_of_the_bot" if taken else name


def _executed(name: str, file: Path) -> ModuleType:
    spec = spec_from_loader(name, SourceFileLoader(name, str(file)))
    assert isinstance(spec, ModuleSpec)
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _failed_import(file: Path, error: BaseException) -> str:
    said = f"BOT_LEGACY_PATH: {file} cannot be imported: {cause_of(error, file.parent)}"
    if isinstance(error, ModuleNotFoundError):
        return f"{said}; is it installed for {sys.executable}, which runs the worker?"
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        return f'{said}; put what starts it as a program under `if __name__ == "__main__":`'
    return said
