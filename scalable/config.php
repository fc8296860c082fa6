<?php
/* The check of this installation, for a shell: the way to config.py, see lib/door/door.php. */
require __DIR__ . '/lib/door/door.php';
scalable_door(__DIR__, 'config', false);
