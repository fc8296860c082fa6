<?php
/* The tick where the web server runs PHP, and a worker in a shell: the way to worker.py, see lib/door/door.php. */
require __DIR__ . '/lib/door/door.php';
scalable_door(__DIR__, 'worker');
