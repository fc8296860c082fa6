"""What an entry script does first: answer a CGI request in the quickest way, or else set up `sys.path`.

The start block of the scripts has made the package `scalable` known by its folder alone. A request that is handed over
to the pool imports nothing else here, not even `os`, and one that is inserted directly hardly more.
"""

import posix
import sys

from scalable.lib.ingest.fast_cgi.protocol import is_web_request

WEB_SCRIPTS = ("webhook_queue.py", "dashboard.py", "worker.py")


def start(name: str, script: str) -> None:
    """Answer the CGI request and end the process, or come back with `sys.path` as the project needs it.

    A request for a script that is not for the web is refused.
    `name` and `script` are `__name__` and `__file__` of the entry script.
    """
    if name == "__main__" and is_web_request(posix.environ):
        folder, _, file = script.rpartition("/")
        if file not in WEB_SCRIPTS:
            from scalable.lib.web_refusal import refuse

            refuse(posix.environ.get(b"CONTENT_LENGTH", b""))
        from scalable.lib.ingest.fast_cgi.pool_client import forward_to_pool

        forward_to_pool(script, posix.environ)
        if file == "webhook_queue.py":
            from scalable.lib.ingest.fast_cgi.direct_insert import answer_update

            answer_update(folder, posix.environ)
    import os

    here = os.path.dirname(os.path.abspath(script))
    # The script's own folder goes: `config.py` and others in it would hide what other packages import by that name.
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or os.curdir) != os.path.realpath(here)]
    if sys.flags.no_site:  # the first line that `config.py init` writes: only now are packages worth looking for
        import site

        site.main()
    if os.path.isdir(os.path.join(here, "vendor")):
        sys.path.insert(0, os.path.join(here, "vendor"))
    _complete_package(here)


def _complete_package(folder: str) -> None:
    """Make the module `scalable` what importing it would have made it."""
    from importlib.machinery import ModuleSpec, SourceFileLoader  # and not importlib.util, which takes 4 ms

    package, path = sys.modules["scalable"], folder + "/__init__.py"
    if package.__spec__ is None:
        loader = SourceFileLoader("scalable", path)
        package.__spec__ = ModuleSpec("scalable", loader, origin=path, is_package=True)
        package.__spec__.submodule_search_locations = package.__path__ = [folder]
        package.__loader__, package.__file__ = loader, path
        loader.exec_module(package)
