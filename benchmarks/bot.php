<?php

// The least a bot can do: read its update, understand it, end. A file named as argument stands for standard input.
$source = PHP_SAPI === 'cli' ? ($argv[1] ?? 'php://stdin') : 'php://input';
$update = json_decode((string) file_get_contents($source), true);
if (!isset($update['update_id'])) {
    http_response_code(500);
    exit(1);
}
