<?php

// A bot that spends its time waiting for somebody else: 200 ms for each update.
$update = json_decode((string) file_get_contents('php://input'), true);
usleep(isset($update['update_id']) ? 200_000 : 0);
