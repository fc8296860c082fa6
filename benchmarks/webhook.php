<?php
// The peer of webhook_queue.py: connects, stores the update as the same row, answers. Nothing else.
$settings = parse_ini_file(__DIR__ . '/.htpeer');
$payload = file_get_contents('php://input');
$update = json_decode($payload, true, 64, JSON_THROW_ON_ERROR);
$database = new PDO(
    "mysql:unix_socket={$settings['socket']};dbname={$settings['database']};charset=utf8mb4",
    $settings['user'], $settings['password'], [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]
);
$insert = $database->prepare(
    "INSERT INTO {$settings['table']} (payload, update_id, update_type, lane, available_at, created_at)"
    . ' VALUES (?, ?, ?, ?, NOW(3), NOW(3))'
);
$insert->execute([$payload, $update['update_id'], 'message', 'chat:' . $update['message']['chat']['id']]);
header('Content-Type: application/json');
echo json_encode(['ok' => true, 'queued_job_id' => (int) $database->lastInsertId()]);
