<?php
/* The webhook, where the web server runs PHP: the way to webhook_queue.py, see lib/door/door.php. */
require __DIR__ . '/lib/door/door.php';
scalable_door(__DIR__, 'webhook_queue');
