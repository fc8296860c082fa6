<?php
/*
 * Stores an update as the first version of this system did, where PHP may start nothing and no pool runs: a bare row,
 * which the next worker runs. Included by door.php. The row has the update's id, so that one which another way has
 * stored, or Telegram brings again, is there once. It knows no lanes: all such rows are in one, and run one after the
 * other, until Python gives each its own (lib/queue/bare_rows.py).
 */

const SCALABLE_DATABASE_SECONDS = 5;
const SCALABLE_MAX_PLACES = 3;
const SCALABLE_BARE_LANE = 'bare';
const SCALABLE_COME_AGAIN = 'the queue cannot take updates just now; Telegram will try again';

function scalable_store_bare_row($folder, $variables, $body, $data_folder)
{
    $settings = scalable_settings($folder);
    $secret = $settings === null ? '' : $settings['BOT_WEBHOOK_SECRET'];
    $given = isset($variables['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN'])
        ? $variables['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN'] : '';
    if ($settings === null) {
        scalable_give_up('the settings file cannot be read');
    } elseif (!isset($variables['REQUEST_METHOD']) || $variables['REQUEST_METHOD'] !== 'POST') {
        scalable_refuse(405, 'this address takes Telegram updates by POST; nothing to see here with a browser',
            array('Allow: POST'));
    } elseif ($secret !== '' && !hash_equals($secret, $given)) {
        scalable_refuse(401, 'the X-Telegram-Bot-Api-Secret-Token header is missing or wrong');
    } else {
        scalable_store_update($settings, $body, $data_folder);
    }
}

/* Only what is an update without doubt: the rules are Python's, and the rest waits for it. */
function scalable_store_update($settings, $body, $data_folder)
{
    $update = json_decode($body, true, 200);
    $id = is_array($update) && isset($update['update_id']) ? $update['update_id'] : null;
    if (!is_int($id) || $id < 1 || strlen($body) > 1048576 || ltrim($body)[0] !== '{') {
        scalable_give_up('an update without an id, or one that is not plain, is taken by Python alone');
        return;
    }
    try {
        $database = scalable_open_database($settings, $data_folder);
        $job = $database === null ? null : scalable_insert($database, $settings['BOT_QUEUE_TABLE'], $body, $id);
    } catch (Throwable $error) {  // also where the host forbids the class
        scalable_give_up('the database: ' . $error->getMessage());
        return;
    }
    if ($job === null) {
        scalable_give_up('there is no database yet, or PHP has no PDO for it');
        return;
    }
    scalable_begin_answer();
    header('Content-Type: application/json; charset=utf-8');
    header('Cache-Control: no-store');
    echo json_encode(array('ok' => true, 'queued_job_id' => $job)), "\n";
}

/* Why goes into the log, and not to the visitor. */
function scalable_give_up($why)
{
    scalable_allowed('error_log', 'Scalable mode: update not taken, status 503: no pool and no Python can be reached '
        . "from PHP, and $why");
    scalable_refuse(503, SCALABLE_COME_AGAIN);
}

/* Null when PHP has no PDO for it, or the file is not there: Python makes it, and only its owner may. */
function scalable_open_database($settings, $data_folder)
{
    $options = array(3 => 2, 2 => SCALABLE_DATABASE_SECONDS);  // ATTR_ERRMODE: ERRMODE_EXCEPTION; ATTR_TIMEOUT
    $drivers = class_exists('PDO') ? PDO::getAvailableDrivers() : array();
    if ($settings['BOT_DB_HOST'] === '') {
        $file = "$data_folder/.ht-queue.sqlite3";
        $is_there = in_array('sqlite', $drivers, true) && is_file($file) && scalable_is_ours($file);
        return $is_there ? new PDO("sqlite:$file", null, null, $options) : null;
    }
    if (!in_array('mysql', $drivers, true)) {
        return null;
    }
    require_once __DIR__ . '/server_place.php';
    $options[1001] = false;  // MYSQL_ATTR_LOCAL_INFILE: before PHP 7.2 a server may ask for any file
    $database = scalable_open_mysql($settings, $options);
    $database->exec("SET time_zone = '+00:00'");
    return $database;
}

/* At the first of its addresses that takes connections. */
function scalable_open_mysql($settings, $options)
{
    $places = array_slice(scalable_server_places($settings), 0, SCALABLE_MAX_PLACES);
    foreach ($places as $number => $place) {
        try {
            return new PDO("mysql:$place;dbname={$settings['BOT_DB_NAME']};charset=utf8mb4", $settings['BOT_DB_USER'],
                $settings['BOT_DB_PASS'], $options);
        } catch (PDOException $error) {
            if ($error->getCode() !== 2002 || $number === count($places) - 1) {  // CR_CONNECTION_ERROR
                throw $error;
            }
        }
    }
}

/* The id of the job, which is committed then. One that is there already stays as it is. */
function scalable_insert($database, $table, $body, $id)
{
    if (!preg_match('/\A[A-Za-z0-9_]{1,48}\z/', $table)) {
        throw new Exception('BOT_QUEUE_TABLE: expected 1 to 48 of A-Z a-z 0-9 _');
    }
    $is_mysql = $database->getAttribute(16) === 'mysql';  // ATTR_DRIVER_NAME
    $now = $is_mysql ? 'UTC_TIMESTAMP(3)' : "strftime('%Y-%m-%d %H:%M:%f', 'now')";
    $columns = "(payload, status, attempts, available_at, created_at, updated_at";
    $values = "(?, 'pending', 0, $now, $now, $now";
    try {
        $insert = $database->prepare("INSERT INTO `$table` $columns, update_id, lane) VALUES $values, ?, ?)");
        $insert->execute(array($body, $id, SCALABLE_BARE_LANE));
    } catch (PDOException $error) {
        if ($error->getCode() === '23000' && ($known = scalable_job_of($database, $table, $id)) !== null) {
            return $known;
        }
        if (stripos($error->getMessage(), "column") === false || stripos($error->getMessage(), 'update_id') === false
            || $error->getCode() === '23000') {
            throw $error;
        }
        // The table of the first version, which no Python has brought up to date: none of ours has stored in it.
        $database->prepare("INSERT INTO `$table` $columns) VALUES $values)")->execute(array($body));
    }
    return (int) $database->lastInsertId();
}

function scalable_job_of($database, $table, $id)
{
    $find = $database->prepare("SELECT id FROM `$table` WHERE update_id = ?");
    $find->execute(array($id));
    $found = $find->fetchColumn();
    return $found === false ? null : (int) $found;
}

/* The settings needed here: the environment wins over the file; null where the file cannot be read without a doubt. */
function scalable_settings($folder)
{
    $file = scalable_settings_file($folder);
    $written = is_file($file) ? scalable_read_settings(@file_get_contents($file)) : array();
    if ($written === null) {
        return null;
    }
    $settings = array('BOT_DB_HOST' => '', 'BOT_DB_NAME' => '', 'BOT_DB_USER' => '', 'BOT_DB_PASS' => '',
        'BOT_DB_SERVER_USER' => '', 'BOT_QUEUE_TABLE' => 'bot_jobs', 'BOT_WEBHOOK_SECRET' => '');
    foreach ($settings as $name => $default) {
        $text = isset($_SERVER[$name]) ? $_SERVER[$name] : (isset($written[$name]) ? $written[$name] : $default);
        $is_secret = $name === 'BOT_DB_PASS' || $name === 'BOT_WEBHOOK_SECRET';
        $text = $is_secret ? $text : trim($text);
        $settings[$name] = $text === '' ? $default : $text;
        if (preg_match('/[\x00-\x08\x0a-\x1f\x7f]/', $text)) {
            return null;
        }
    }
    $is_partial = $settings['BOT_DB_HOST'] === '' && trim("$settings[BOT_DB_NAME]$settings[BOT_DB_USER]"
        . $settings['BOT_DB_PASS']) !== '';
    return $is_partial ? null : $settings;
}

/* Names and values of a settings file as lib/setup/settings_file.py reads it; null when a line cannot be read. A test
   compares the two. */
function scalable_read_settings($text)
{
    if ($text === false || !preg_match('//u', $text)) {
        return null;
    }
    $text = strncmp($text, "\xef\xbb\xbf", 3) === 0 ? substr($text, 3) : $text;
    $space = '[^\S\r\n]*';
    $end = "(?:$space#[^\r\n]*)?$space(?:\r\n|\n|\r|\\z)";
    $name = "(?:export[^\\S\r\n]+)?(?:'([^']+)'|([^=#\\s'][^=#\\s]*))";
    $binding = "~(*UCP)\\G\\s*(?:#[^\r\n]*(?:\r\n|\n|\r|\\z)|$name$space=$space"
        . "(?:'((?:\\\\'|[^'])*)'$end|\"((?:\\\\\"|[^\"])*)\"$end|(?!['\"])([^\r\n]*)(?:\r\n|\n|\r|\\z)))~u";
    $values = array();
    $at = 0;
    while (trim(substr($text, $at)) !== '') {
        if (!preg_match($binding, $text, $found, PREG_OFFSET_CAPTURE, $at)) {
            return null;
        }
        $at += strlen($found[0][0]);
        $group = function ($number) use ($found) {
            return isset($found[$number]) && $found[$number][1] >= 0 ? $found[$number][0] : null;
        };
        $name = $group(1) !== null ? $group(1) : $group(2);
        if ($name === null) {
            continue;
        }
        if ($group(3) !== null) {
            $values[$name] = preg_replace("/\\\\([\\\\'])/", '$1', $group(3));
        } elseif ($group(4) !== null) {
            $values[$name] = preg_replace_callback("/\\\\([\\\\'\"abfnrtv])/", function ($match) {
                return stripcslashes($match[0]);
            }, $group(4));
        } else {
            $plain = preg_replace('/(*UCP)\s+#.*/u', '', (string) $group(5));
            $values[$name] = preg_replace('/(*UCP)\s+\z/u', '', $plain);
        }
    }
    return $values;
}
