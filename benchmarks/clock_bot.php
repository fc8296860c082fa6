<?php

// Writes down when it was started: its update, and the clock that all processes of a machine share.
$started = hrtime(true);
$update = json_decode((string) file_get_contents(PHP_SAPI === 'cli' ? 'php://stdin' : 'php://input'), true);
file_put_contents((string) getenv('BOT_JOURNAL'), $update['update_id'] . ' ' . $started . "\n", FILE_APPEND | LOCK_EX);
