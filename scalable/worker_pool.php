<?php
/* The pool, for a shell: the way to worker_pool.py, see lib/door/door.php. */
require __DIR__ . '/lib/door/door.php';
scalable_door(__DIR__, 'worker_pool', false);
