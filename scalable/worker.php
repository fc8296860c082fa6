<?php
/* The tick on the web, and a worker in a shell,, where the web server runs PHP: the way to worker.py, see lib/door/door.php. */
require __DIR__ . '/lib/door/door.php';
scalable_door(__DIR__, 'worker');
