"""The PATH of a program that is started without one of its owner's."""

# Also where a web server looks for programs (suexec's AP_SAFE_PATH); a login shell may look elsewhere first.
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
