<?php
/*
 * The door in PHP, for a web server that runs PHP and no Python: hands a request to our Python as it came, and passes
 * the answer on. It knows no rule of the webhook or the dashboard, and decides only which way to Python is there:
 *
 *   1. the running pool, over one of its Unix sockets: an update over the quick one, everything else, and an update
 *      that is declined there, over the gateway (lib/ingest/update_gateway.py and pool_gateway.py);
 *   2. the Python script itself, started for this one request (start_python.php);
 *   3. for an update alone: the row as the first version of this system stored it (bare_row.php);
 *   4. 503 with Retry-After: Telegram keeps the update and brings it again.
 *
 * A way that was given an update and never answered may have stored it. The next way stores it again, which changes
 * nothing: each stores it with its update_id, of which the table takes one. One without an id is Python's alone.
 *
 * One file for the quick way, because it is read for every update. PHP 7.0 to 8.5, no extension needed.
 */

/* See lib/ingest/fast_cgi/protocol.py. */
const SCALABLE_GREETING = "scalable 1\n";
const SCALABLE_MAX_BODY = 2097152;
/* How long the pool is waited for; all ways together take less than the 60 s after which Telegram gives up. */
const SCALABLE_CONNECT_SECONDS = 1;
const SCALABLE_STORE_SECONDS = 8;
const SCALABLE_ANSWER_SECONDS = 15;
/* A longer path does not fit into the address of a socket, and PHP would take its beginning. */
const SCALABLE_MAX_PATH = 103;
/* The variables of CGI (RFC 3875) and what web servers add; besides these those that begin with HTTP_ and BOT_. */
const SCALABLE_VARIABLES = array(
    'AUTH_TYPE' => 1, 'CONTENT_TYPE' => 1, 'DOCUMENT_ROOT' => 1, 'GATEWAY_INTERFACE' => 1, 'HTTPS' => 1,
    'PATH_INFO' => 1, 'PATH_TRANSLATED' => 1, 'QUERY_STRING' => 1, 'REMOTE_ADDR' => 1, 'REMOTE_PORT' => 1,
    'REMOTE_USER' => 1, 'REQUEST_METHOD' => 1, 'REQUEST_SCHEME' => 1, 'REQUEST_URI' => 1, 'SCRIPT_FILENAME' => 1,
    'SCRIPT_NAME' => 1, 'SERVER_ADDR' => 1, 'SERVER_NAME' => 1, 'SERVER_PORT' => 1, 'SERVER_PROTOCOL' => 1,
    'SERVER_SOFTWARE' => 1,
);
/* Headers that are not passed on: a program would take the one for its own proxy (httpoxy.org), and the body is whole
   by now, whatever parts it came in. */
const SCALABLE_TAKEN_OUT = array('HTTP_PROXY' => 1, 'HTTP_TRANSFER_ENCODING' => 1);

/* Answer this request by the script `$name`.py of `$folder`, or run it, when this is a shell. */
function scalable_door($folder, $name, $is_for_web = true)
{
    if (!isset($_SERVER['REQUEST_METHOD']) && !isset($_SERVER['GATEWAY_INTERFACE'])) {
        require __DIR__ . '/start_python.php';
        exit(scalable_run_in_shell($folder, $name));
    }
    scalable_allowed('ini_set', 'display_errors', '0');
    if (!$is_for_web) {
        scalable_refuse(403, 'This script is for a shell. A web server may not run it, so nothing was done.');
        return;
    }
    $body = scalable_body();
    if ($body === null) {
        return;
    }
    $variables = scalable_variables($body);
    $data_folder = scalable_data_folder($folder);
    $is_webhook = $name === 'webhook_queue';
    $request = scalable_request($variables, $folder, "$name.py", $body);
    $answer = $is_webhook ? scalable_ask("$data_folder/.ht-updates.sock", $request, '', SCALABLE_STORE_SECONDS) : '';
    if ($answer === '' || $answer === null) {
        $answer = scalable_ask("$data_folder/.ht-gateway.sock", $request, SCALABLE_GREETING, SCALABLE_ANSWER_SECONDS);
    }
    if (!scalable_pass_on($answer)) {
        scalable_without_pool($folder, $name, $variables, $body, $data_folder);
    }
}

function scalable_without_pool($folder, $name, $variables, $body, $data_folder)
{
    scalable_allowed('set_time_limit', 60);
    require __DIR__ . '/start_python.php';
    if (scalable_answer_by_python($folder, $name, $variables, $body, $data_folder)) {
        return;
    }
    if ($name === 'webhook_queue') {
        require __DIR__ . '/bare_row.php';
        scalable_store_bare_row($folder, $variables, $body, $data_folder);
        return;
    }
    scalable_refuse(503, 'No pool runs, and this web server cannot start Python. Start the pool in a shell or by cron: '
        . 'python3 scalable/worker_pool.py --ensure');
}

/* The body of this request, whole; null when there is none to pass on, and that was answered. */
function scalable_body()
{
    $body = (string) file_get_contents('php://input', false, null, 0, SCALABLE_MAX_BODY + 1);
    $told = isset($_SERVER['CONTENT_LENGTH']) ? (string) $_SERVER['CONTENT_LENGTH'] : '';
    $is_number = strspn($told, '0123456789') === strlen($told);
    $length = $told === '' ? strlen($body) : ($is_number ? (int) $told : -1);
    if (max($length, strlen($body)) > SCALABLE_MAX_BODY) {
        scalable_refuse(413, 'the request body is larger than ' . SCALABLE_MAX_BODY . ' bytes');
        return null;
    }
    if ($length !== strlen($body)) {  // the visitor left; PHP has read a multipart form; or post_max_size is smaller
        scalable_refuse(400, 'the request body is not what its length says, or a form with files');
        return null;
    }
    return $body;
}

/* The variables of this request, as CGI has them. A header can become no other variable: its name begins with HTTP_. */
function scalable_variables($body)
{
    $variables = array('CONTENT_LENGTH' => (string) strlen($body));
    foreach ($_SERVER as $name => $value) {
        $is_passed = isset(SCALABLE_VARIABLES[$name]) || strncmp($name, 'HTTP_', 5) === 0
            || strncmp($name, 'BOT_', 4) === 0;
        if ($is_passed && is_string($value) && !isset(SCALABLE_TAKEN_OUT[$name]) && strpos($value, "\0") === false) {
            $variables[$name] = $value;
        }
    }
    // Apache keeps it from scripts, and leaves it here where a rewrite rule asks it to.
    if (!isset($variables['HTTP_AUTHORIZATION']) && isset($_SERVER['REDIRECT_HTTP_AUTHORIZATION'])) {
        $variables['HTTP_AUTHORIZATION'] = str_replace("\0", '', (string) $_SERVER['REDIRECT_HTTP_AUTHORIZATION']);
    }
    return $variables;
}

/* The request as SCGI has it: names and values are counted and never parsed. */
function scalable_request($variables, $folder, $script, $body)
{
    $block = 'CONTENT_LENGTH' . "\0" . strlen($body) . "\0SCGI\0001\0";
    foreach ($variables as $name => $value) {
        $block .= "$name\0$value\0";
    }
    $block .= "SCALABLE_FOLDER\0$folder\0SCALABLE_SCRIPT\0$script\0";
    return strlen($block) . ":$block,$body";
}

/* The data folder of this installation, by the rule of lib/ingest/fast_cgi/pool_client.py. */
function scalable_data_folder($folder)
{
    $named = isset($_SERVER['BOT_DATA_DIR']) ? $_SERVER['BOT_DATA_DIR'] : '';
    if ($named === '') {
        $text = (string) @file_get_contents(scalable_settings_file($folder));
        $line = '/^[ \t]*(?:export[ \t]+)?BOT_DATA_DIR[ \t]*=[ \t]*([^\r\n]*)/m';
        $named = preg_match_all($line, $text, $found) ? trim(trim(end($found[1])), "'\"") : '';
    }
    $named = $named === '' ? '.htdata' : $named;
    return $named[0] === '/' ? $named : "$folder/$named";
}

function scalable_settings_file($folder)
{
    $named = isset($_SERVER['BOT_CONFIG']) && $_SERVER['BOT_CONFIG'] !== '' ? $_SERVER['BOT_CONFIG'] : '.htenv';
    return $named[0] === '/' ? $named : "$folder/$named";
}

/* Whether `$path` belongs to root, or to who owns these scripts or runs them. */
function scalable_is_ours($path)
{
    $owner = @fileowner($path);
    return $owner !== false && in_array($owner, scalable_own_users(), true);
}

function scalable_own_users()
{
    return array(0, scalable_allowed('getmyuid'), scalable_allowed('posix_geteuid'), @fileowner(__FILE__));
}

/* What the function returns; null where the host forbids it (disable_functions), or PHP was built without it. */
function scalable_allowed($function)
{
    return function_exists($function) ? @call_user_func_array($function, array_slice(func_get_args(), 1)) : null;
}

/* The pool's answer; empty when it declines, null when there is none, or not the whole. */
function scalable_ask($path, $request, $greeting, $seconds)
{
    if (!scalable_is_ours($path) || !($link = scalable_connect($path))) {
        return null;
    }
    if ($greeting !== '') {
        stream_set_timeout($link, SCALABLE_CONNECT_SECONDS);
        if (stream_get_contents($link, strlen($greeting)) !== $greeting) {
            return null;
        }
    }
    stream_set_timeout($link, $seconds);
    for ($sent = 0; $sent < strlen($request); $sent += $part) {
        $part = @fwrite($link, $sent === 0 ? $request : substr($request, $sent));
        if (!$part) {
            return null;
        }
    }
    return scalable_read_netstring($link, microtime(true) + $seconds);
}

function scalable_connect($path)
{
    if (strlen($path) > SCALABLE_MAX_PATH) {
        // From its own folder; threads have one working directory for all.
        if (PHP_ZTS || !@chdir(dirname($path))) {
            return false;
        }
        $path = basename($path);
    }
    if (function_exists('stream_socket_client')) {
        return @stream_socket_client("unix://$path", $code, $why, SCALABLE_CONNECT_SECONDS);
    }
    return function_exists('fsockopen') ? @fsockopen("unix://$path", -1, $code, $why, SCALABLE_CONNECT_SECONDS) : false;
}

function scalable_read_netstring($link, $ends)
{
    $data = '';
    $whole = null;
    while ($whole === null || strlen($data) < $whole) {
        $part = fread($link, 65536);
        if ($part === '' || $part === false || microtime(true) > $ends) {
            return null;
        }
        $data .= $part;
        if ($whole === null && preg_match('/^([0-9]{1,11}):/', $data, $found)) {
            $begin = strlen($found[0]);
            $whole = $begin + (int) $found[1] + 1;
        } elseif ($whole === null && strlen($data) > 11) {
            return null;
        }
    }
    return $data[$whole - 1] === ',' ? (string) substr($data, $begin, $whole - $begin - 1) : null;
}

/* Send the answer of a CGI script (RFC 3875, 6); false when it is none. */
function scalable_pass_on($answer)
{
    if (!preg_match('/\A((?:[A-Za-z0-9-]+:[^\r\n]*\r?\n)+)\r?\n/', (string) $answer, $head)) {
        return false;
    }
    scalable_begin_answer();
    $status = 200;
    foreach (preg_split('/\r?\n/', $head[1], -1, PREG_SPLIT_NO_EMPTY) as $line) {
        if (strncasecmp($line, 'Status:', 7) === 0) {
            $status = (int) trim(substr($line, 7));
        } else {
            header($line, false);
        }
    }
    http_response_code($status);  // last, because header() has a status of its own for Location
    echo substr($answer, strlen($head[0]));
    return true;
}

/* Nothing of PHP's own goes into the answer. */
function scalable_begin_answer()
{
    while (ob_get_level() > 0 && ob_end_clean()) {
    }
    scalable_allowed('ini_set', 'default_charset', '');
    scalable_allowed('ini_set', 'zlib.output_compression', '0');
    header_remove();
}

function scalable_refuse($status, $why, $more = array())
{
    scalable_begin_answer();
    header('Content-Type: application/json; charset=utf-8');
    header('Cache-Control: no-store');
    if ($status === 503) {
        header('Retry-After: 10');
    }
    foreach ($more as $line) {
        header($line);
    }
    http_response_code($status);
    echo json_encode(array('ok' => false, 'error' => $why), JSON_UNESCAPED_SLASHES), "\n";
}
