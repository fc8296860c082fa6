<?php
/* The dashboard, where the web server runs PHP: the way to dashboard.py, see lib/door/door.php. */
require __DIR__ . '/lib/door/door.php';
scalable_door(__DIR__, 'dashboard');
