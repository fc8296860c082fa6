<?php

// Writes a line when a run starts and one when it ends, and one when another run of its lane is alive: by a lock that
// the kernel takes back from the dead, and by the clock all processes share (CLOCK_MONOTONIC). One run in a hundred
// fails, and every one while what the bot depends on is away.
$update = json_decode((string) file_get_contents(PHP_SAPI === 'cli' ? 'php://stdin' : 'php://input'), true);
$stress = end($update)['stress'];
$journal = (string) getenv('BOT_JOURNAL');
$worker = posix_getppid();

function note(string $event): void
{
    global $update, $stress, $journal, $worker;
    $line = [
        'event' => $event, 'update' => $update['update_id'], 'lane' => $stress['lane'], 'pid' => getmypid(),
        'worker' => $worker, 'at' => hrtime(true) / 1e9,
    ];
    file_put_contents($journal, json_encode($line) . "\n", FILE_APPEND);
}

$lane = fopen(dirname($journal) . '/lanes/' . md5($stress['lane']), 'c');
if (!flock($lane, LOCK_EX | LOCK_NB)) {
    note('beside another');
}
note('start');
usleep(mt_rand(1, 50) === 1 ? mt_rand(50000, 250000) : mt_rand(0, 3000));
$away = is_file(dirname($journal) . '/dependency-away');
$fails = $away || $stress['fails'] || mt_rand(1, 100) === 1;
note($away ? 'away' : ($fails ? 'failed' : 'succeeded'));
flock($lane, LOCK_UN);
if ($fails) {
    http_response_code(500);
    exit(1);
}
