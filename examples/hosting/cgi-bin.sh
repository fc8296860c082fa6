#!/bin/sh
# For a host that runs CGI scripts in its folder cgi-bin alone. Put `scalable/` outside the folder the web server shows,
# copy this file to cgi-bin/webhook_queue.py, cgi-bin/dashboard.py and, for the tick, cgi-bin/worker.py, and make them
# executable (chmod 755). They run the script of the same name there. The webhook is then
# https://example.com/cgi-bin/webhook_queue.py.
exec /usr/bin/python3 "/home/you/scalable/${0##*/}"
