<?php

// A bot that takes 20 seconds for a message, and nothing for a payment, whose begin it writes down beside itself.
$update = json_decode((string) file_get_contents('php://input'), true);
if (isset($update['pre_checkout_query'])) {
    file_put_contents(__DIR__ . '/journal', $update['update_id'] . ' ' . hrtime(true) . "\n", FILE_APPEND);
} else {
    sleep(20);
}
