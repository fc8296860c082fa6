<?php
/*
 * The doctor for the case that Python cannot start at all: looks at the scripts, at every Python it finds, at what a
 * start of the scripts says, and at what the web server answers for them. Where Python runs, it shows what config.py
 * says, too.
 *
 * In a shell: php scalable/doctor.php. In a browser it asks for BOT_MONITOR_TOKEN of scalable/.htenv, and is closed
 * while that is empty. One file, for PHP 5.4 to 8, without extensions. Delete it when you do not want it.
 */
error_reporting(E_ALL);
ini_set('display_errors', '0');

define('WEB_PATH', '/usr/local/bin:/usr/bin:/bin');
define('BOM', "\xef\xbb\xbf");
define('MAX_OUTPUT', 65536);
$SCRIPTS = array('webhook_queue.py', 'dashboard.py', 'worker.py');
$FINDINGS = array();

if (!isset($_SERVER['REQUEST_METHOD'])) {
    examine();
    exit(print_text());
}
serve_page();

// The page -----------------------------------------------------------------------------------------------------------

function serve_page()
{
    header('Content-Type: text/html; charset=utf-8');
    header('Cache-Control: no-store');
    header('X-Content-Type-Options: nosniff');
    header('X-Frame-Options: DENY');
    header('Referrer-Policy: no-referrer');
    header("Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
        . "frame-ancestors 'none'; base-uri 'none'");
    $settings = settings();
    $token = isset($settings['BOT_MONITOR_TOKEN']) ? $settings['BOT_MONITOR_TOKEN'] : '';
    if ($token === '') {
        refuse(403, 'Closed: write BOT_MONITOR_TOKEN=something-long into scalable/.htenv, and let PHP read that file. '
            . 'Di sini tertutup: tulis BOT_MONITOR_TOKEN di scalable/.htenv.', false);
    } elseif (!isset($_POST['token']) || !is_string($_POST['token'])) {
        refuse(200, 'Give the value of BOT_MONITOR_TOKEN. Tulis nilai BOT_MONITOR_TOKEN.', true);
    } elseif (is_guess_allowed_and_right($_POST['token'], $token)) {
        examine();
        print_page();
    }
}

/* One wrong guess a second, however many ask at once: who guesses holds a lock while waiting. */
function is_guess_allowed_and_right($given, $token)
{
    // Whoever can open a file can hold its lock; the data folder is private, and this file is not.
    $private = __DIR__ . '/.htdata';
    $lock = is_writable($private) && is_ours_alone($private) ? @fopen("$private/.ht-doctor.lock", 'c') : false;
    $lock = $lock === false ? @fopen(__FILE__, 'r') : $lock;
    if ($lock === false || !flock($lock, LOCK_EX | LOCK_NB)) {
        header('Retry-After: 2');
        refuse(429, 'Somebody else is being asked just now. Try again. Coba lagi.', true);
        return false;
    }
    $right = same($given, $token);
    if (!$right) {
        sleep(1);
        refuse(403, 'That is not the password. Itu bukan kata sandinya.', true);
    }
    flock($lock, LOCK_UN);
    return $right;
}

/* In constant time; hash_equals came with PHP 5.6. */
function same($given, $expected)
{
    $one = hash('sha256', $given, true);
    $other = hash('sha256', $expected, true);
    $difference = 0;
    for ($at = 0; $at < 32; $at++) {
        $difference |= ord($one[$at]) ^ ord($other[$at]);
    }
    return $difference === 0;
}

function refuse($status, $why, $asks)
{
    header(' ', true, $status);
    $form = '<form method="post"><input type="password" name="token" autocomplete="current-password" required> '
        . '<button>Check / Periksa</button></form>';
    echo page('<p>' . html($why) . '</p>' . ($asks ? $form : ''));
}

function print_page()
{
    global $FINDINGS;
    $rows = '';
    foreach ($FINDINGS as $finding) {
        list($verdict, $subject, $seen, $remedy) = array_map('html', $finding);
        $rows .= "<tr class=\"$verdict\"><td>$verdict</td><td>$subject</td><td>$seen</td><td>$remedy</td></tr>\n";
    }
    echo page("<h1>" . html(conclusion()) . "</h1>\n<table><tr><th>Hasil / Verdict</th><th>Apa / What</th>"
        . "<th>Yang terlihat / What was seen</th><th>Yang perlu dilakukan / What to do</th></tr>\n$rows</table>\n"
        . '<h2>Untuk disalin / To copy</h2><pre>' . html(text()) . '</pre>');
}

function page($body)
{
    return '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        . '<meta name="robots" content="noindex"><title>Doctor</title><style>body{font:15px/1.5 sans-serif;margin:1rem}'
        . 'td,th{text-align:left;vertical-align:top;padding:.3rem .6rem;border-top:1px solid;overflow-wrap:anywhere}'
        . '.error td:first-child{color:#c01c28}.warning td:first-child{color:#8a5a00}pre{white-space:pre-wrap}</style>'
        . $body . '</html>';
}

function html($text)
{
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
}

function print_text()
{
    echo plain(text()), "\n";
    return errors() ? 2 : 0;
}

/* What a terminal would obey is spelled: control characters, and what turns the direction of reading. */
function plain($text)
{
    $obeyed = '/[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8b\x8e\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]/';
    return preg_replace_callback($obeyed, function ($found) {
        return '\x' . implode('\x', str_split(bin2hex($found[0]), 2));
    }, $text);
}

function text()
{
    global $FINDINGS;
    $lines = array();
    foreach ($FINDINGS as $finding) {
        list($verdict, $subject, $seen, $remedy) = $finding;
        $lines[] = sprintf('%-8s %s: %s%s', $verdict, $subject, $seen, $remedy === '' ? '' : "; $remedy");
    }
    return implode("\n", $lines) . "\n\n" . conclusion();
}

function errors()
{
    global $FINDINGS;
    return count(array_filter($FINDINGS, function ($finding) {
        return $finding[0] === 'error';
    }));
}

function conclusion()
{
    $errors = errors();
    return $errors ? "$errors thing" . ($errors === 1 ? '' : 's') . ' to put right.' : 'Everything needed is in place.';
}

function found($verdict, $subject, $seen, $remedy = '')
{
    global $FINDINGS;
    $FINDINGS[] = array($verdict, $subject, hide_secrets($seen), hide_secrets($remedy));
}

// The checks ---------------------------------------------------------------------------------------------------------

function examine()
{
    global $SCRIPTS;
    @set_time_limit(120);
    check_php();
    check_folder();
    foreach ($SCRIPTS as $name) {
        check_script(__DIR__ . "/$name");
    }
    check_access_files();
    check_settings();
    check_data_folder();
    $pythons = find_pythons();
    check_interpreters($pythons);
    $started = check_start();
    $answered = check_address();
    check_error_log();
    if ($started || $pythons) {
        ask_config($pythons, $answered);
    }
}

function check_php()
{
    $server = isset($_SERVER['SERVER_SOFTWARE']) ? ' under ' . $_SERVER['SERVER_SOFTWARE'] : '';
    $user = user_name(own_id());
    found('ok', 'php', 'PHP ' . PHP_VERSION . ' (' . PHP_SAPI . ")$server, as user $user");
    if (!can_run()) {
        found('warning', 'php',
            'the host forbids PHP to start programs (proc_open), so Python cannot be tried from here',
            'use a shell, if you have one: python3 scalable/config.py');
    }
    if (own_id() !== fileowner(__DIR__)) {
        found('warning', 'owner', "PHP runs as $user, and the folder belongs to " . user_name(fileowner(__DIR__)),
            'lines below are about that user; in a shell, run this as the owner. config.py is not asked');
    }
}

function check_folder()
{
    $mode = mode(__DIR__);
    if ($mode & 022) {
        found('error', 'scripts', sprintf('%s, mode %o: others may write this folder, and suexec runs no script of it',
            __DIR__, $mode), 'chmod 755 ' . escapeshellarg(__DIR__));
    } else {
        found('ok', 'scripts', sprintf('%s, mode %o, owner %s', __DIR__, $mode, user_name(fileowner(__DIR__))));
    }
}

function check_script($path)
{
    $start = @file_get_contents($path, false, null, 0, 4096);
    if ($start === false) {
        found('error', 'scripts', "$path is missing or cannot be read",
            'upload it again, and: chmod 755 ' . escapeshellarg($path));
        return;
    }
    $mode = mode($path);
    $before = errors();
    if (!($mode & 0100)) {
        found('error', 'scripts', sprintf('%s, mode %o: not executable, so a web server cannot start it', $path, $mode),
            'chmod 755 ' . escapeshellarg($path));
    }
    if ($mode & 022) {
        found('error', 'scripts',
            sprintf('%s, mode %o: others may write this file, and suexec does not run it', $path, $mode),
            'chmod 755 ' . escapeshellarg($path));
    }
    if (strncmp($start, BOM, 3) === 0) {
        found('error', 'scripts',
            "$path begins with a byte order mark (BOM), so the system does not know it for a script",
            "upload it without a BOM, or: sed -i '1s/^\\xef\\xbb\\xbf//' " . escapeshellarg($path));
    }
    if (strpos($start, "\r\n") !== false) {
        found('error', 'scripts', "$path has Windows line ends (CRLF), so the system looks for a program 'python3\\r'",
            "upload it in binary mode, or: sed -i 's/\\r\$//' " . escapeshellarg($path));
    }
    if (fileowner($path) !== fileowner(__DIR__)) {
        found('error', 'scripts', "$path belongs to " . user_name(fileowner($path)) . ', and the folder to '
            . user_name(fileowner(__DIR__)) . ', which suexec refuses', 'upload it again as that user');
    }
    if (errors() === $before) {
        found('ok', 'scripts', sprintf('%s, mode %o', $path, $mode));
    }
}

function check_access_files()
{
    $own = __DIR__ . '/.htaccess';
    if (!is_file($own)) {
        found('warning', 'scripts', "$own is missing: Apache then shows files that should stay private",
            'upload it; file managers hide names that begin with a dot');
    }
    $folder = __DIR__;
    for ($up = 0; $up < 5 && $folder !== dirname($folder); $up++, $folder = dirname($folder)) {
        $text = (string) @file_get_contents("$folder/.htaccess");
        if (strncmp($text, BOM, 3) === 0) {
            found('error', 'scripts',
                "$folder/.htaccess begins with a byte order mark (BOM), which Apache answers with 500",
                'save it without one');
        }
        if (preg_match_all('/^[ \t]*(?:SetEnv|PassEnv)[ \t]+(BOT_\w+)/mi', $text, $names)) {
            found('warning', 'settings', 'SetEnv ' . implode(', ', $names[1]) . " in $folder/.htaccess: suexec takes "
                . 'such variables away, and a shell and cron never see them',
                'take those lines away, and write the settings into scalable/.htenv');
        }
    }
}

function check_settings()
{
    $path = settings_path();
    if (!is_readable($path)) {
        $seen = is_file($path) ? "$path cannot be read by " . user_name(own_id()) : "none at $path";
        found('warning', 'settings file', $seen,
            'copy .htenv.example to .htenv, write your settings into it, and: chmod 600');
        return;
    }
    $mode = mode($path);
    if ($mode & 077) {
        found('warning', 'settings file', sprintf('%s, mode %o: others may read it', $path, $mode), "chmod 600 $path");
    } else {
        found('ok', 'settings file', sprintf('%s, mode %o', $path, $mode));
    }
}

function check_data_folder()
{
    $settings = settings();
    $named = empty($settings['BOT_DATA_DIR']) ? '.htdata' : $settings['BOT_DATA_DIR'];
    $folder = $named[0] === '/' ? $named : __DIR__ . "/$named";
    if (!is_dir($folder)) {
        $verdict = is_writable(dirname($folder)) ? 'ok' : 'error';
        found($verdict, 'data folder', "$folder is not there yet" . ($verdict === 'ok' ? ', and can be made' : ', and '
            . user_name(own_id()) . ' may not make it'), $verdict === 'ok' ? '' : 'make it, owned by you, mode 700');
        return;
    }
    $seen = sprintf('%s, mode %o, owner %s', $folder, mode($folder), user_name(fileowner($folder)));
    if (!is_writable($folder)) {
        found('error', 'data folder', "$seen: " . user_name(own_id()) . ' may not write here',
            'web server, cron and shell must all run as the folder\'s owner; else give it to that user, mode 700');
        return;
    }
    judge_privacy($folder, $seen);
    $written = write_trial("$folder/.ht-trial." . getmypid() . '.' . mt_rand());
    $free = (int) (@disk_free_space($folder) / 1048576);
    if ($written !== 262144) {
        found('error', 'disk',
            "the disk is full, or your quota is used up: nothing can be written to $folder ($free MB free)",
            'delete what is not needed, such as logs and old backups, or ask the host for more');
    } else {
        found('ok', 'disk', "$free MB free");
    }
}

/* How many bytes could be written to a new file. Mode x: a link that somebody left there is not written through. */
function write_trial($path)
{
    $file = @fopen($path, 'x');
    if ($file === false) {
        return 0;
    }
    $written = @fwrite($file, str_repeat("\0", 262144));
    fclose($file);
    unlink($path);
    return $written;
}

/* Whether nobody else can put a file, or a link to one of ours, into the folder. */
function is_ours_alone($folder)
{
    return !(mode($folder) & 022) && in_array(fileowner($folder), array(0, own_id()), true);
}

/* By the rule of lib/setup/private_folder.py: made private when it is ours alone, else refused where others may write. */
function judge_privacy($folder, $seen)
{
    $entries = array_diff((array) @scandir($folder), array('.', '..'));
    $is_for_us_alone = !preg_grep('/^\.ht/', $entries, PREG_GREP_INVERT);
    $mode = mode($folder);
    foreach (preg_grep('/^\.ht/', $entries) as $name) {
        $state = @lstat("$folder/$name");
        $owner = $state === false ? false : $state['uid'];
        if (!in_array($owner, array(false, 0, own_id(), fileowner($folder)), true)) {
            found('error', 'data folder', "$seen: $name in it belongs to " . user_name($owner),
                'look at it, and delete it');
            return;
        }
    }
    if (own_id() !== 0 && !in_array(fileowner($folder), array(0, own_id()), true)) {
        found('error', 'data folder', "$seen: that user can replace what is in it", 'name a folder of your own');
    } elseif (!($mode & 077)) {
        found('ok', 'data folder', "$seen, writable");
    } elseif ($is_for_us_alone && fileowner($folder) === own_id()) {
        found('ok', 'data folder', "$seen, writable; it is made private when it is used next");
    } elseif ($mode & 022) {
        found('error', 'data folder', "$seen: others may write here",
            'make it private (chmod 700), or name a new folder of your own');
    } else {
        found('warning', 'data folder', "$seen: it holds other things too, so it stays as it is, and others may see "
            . 'their names', 'name a folder of its own as BOT_DATA_DIR');
    }
}

/* Path => version (as text) of every Python there is, newest first. */
function find_pythons()
{
    $patterns = array('/usr/bin/python*', '/usr/local/bin/python*', '/opt/alt/python*/bin/python3',
        '/opt/python*/bin/python3', '/opt/cpanel/ea-python*/root/usr/bin/python3*');
    $found = array();
    foreach ($patterns as $pattern) {
        foreach ((array) @glob($pattern) as $path) {
            $is_one = preg_match('/\/python[0-9.]*$/', $path) && @is_executable($path);
            if ($is_one && ($version = version_of($path)) !== null) {
                $found[$path] = $version;
            }
        }
    }
    uasort($found, function ($one, $other) {
        return version_compare($other, $one);
    });
    return $found;
}

/* By running it; where that is forbidden, by its name, or null. */
function version_of($path)
{
    if (can_run()) {
        list(, $out, $err) = run(escapeshellarg($path) . ' -V', array('PATH' => WEB_PATH), 5);
        return preg_match('/^Python (\d+\.\d+[\w.+]*)/', $out . $err, $match) ? $match[1] : null;
    }
    return preg_match('/python(\d+\.\d+)$/', $path, $match) ? $match[1] : null;
}

function check_interpreters($pythons)
{
    $good = newest($pythons);
    $all = array();
    foreach ($pythons as $path => $version) {
        $all[] = "$version at $path";
    }
    found($good === null ? 'error' : 'ok', 'python', $all ? implode(', ', $all) : 'none found in the usual places',
        $good === null ? 'ask the host for Python 3.9 or newer' : '');
    foreach (first_lines() as $line => $names) {
        $better = $good === null ? 'ask the host for Python 3.9 or newer, and put its path into the first line'
            : "make the first line of $names #!$good";
        $path = program($line);
        $version = $path === null ? null : version_of($path);
        if ($path === null) {
            found('error', 'interpreter', "the web server finds no program for '$line', the first line of $names",
                $better);
        } elseif ($version !== null && version_compare($version, '3.9', '<')) {
            found('error', 'interpreter', "Python $version at $path runs $names; 3.9 or newer is needed", $better);
        } else {
            $shown = $version === null ? '(not asked)' : $version;
            found('ok', 'interpreter', "Python $shown at $path runs $names");
        }
    }
}

/* First line => the names of the scripts that have it. */
function first_lines()
{
    global $SCRIPTS;
    $lines = array();
    foreach ($SCRIPTS as $name) {
        $start = (string) @file_get_contents(__DIR__ . "/$name", false, null, 0, 256);
        $line = rtrim(strtok(strncmp($start, BOM, 3) === 0 ? substr($start, 3) : $start, "\n"), "\r");
        $lines[$line] = isset($lines[$line]) ? "$lines[$line], $name" : $name;
    }
    return $lines;
}

/* The program that a first line starts, as a web server with a short PATH finds it; null: none. */
function program($line)
{
    if (!preg_match('/^#!\s*(\S+)\s*(.*)$/', $line, $match)) {
        return null;
    }
    if (basename($match[1]) !== 'env') {
        return @is_executable($match[1]) ? $match[1] : null;
    }
    $words = preg_split('/\s+/', trim(preg_replace('/^-\S+\s*/', '', $match[2])));
    foreach (explode(':', WEB_PATH) as $folder) {
        if ($words[0] !== '' && @is_executable("$folder/$words[0]")) {
            return "$folder/$words[0]";
        }
    }
    return null;
}

function newest($pythons)
{
    foreach ($pythons as $path => $version) {
        return version_compare($version, '3.9', '>=') ? $path : null;
    }
    return null;
}

/* Start the webhook as a web server does, with a GET, which stores nothing; whether it answered. */
function check_start()
{
    $path = __DIR__ . '/webhook_queue.py';
    if (!can_run() || !is_file($path)) {
        return false;
    }
    $request = array('PATH' => WEB_PATH, 'GATEWAY_INTERFACE' => 'CGI/1.1', 'REQUEST_METHOD' => 'GET',
        'QUERY_STRING' => '', 'SERVER_PROTOCOL' => 'HTTP/1.1', 'SERVER_NAME' => 'localhost', 'SERVER_PORT' => '80',
        'REMOTE_ADDR' => '127.0.0.1', 'SCRIPT_NAME' => '/webhook_queue.py', 'SCRIPT_FILENAME' => $path,
        'CONTENT_LENGTH' => '');
    list($code, $out, $err) = run(escapeshellarg($path), $request, 15);
    if (strncmp($out, 'Status: 405', 11) === 0) {
        found('ok', 'start', 'webhook_queue.py starts and answers');
        return true;
    }
    $said = trim(trim(substr($err, -700)) . ' ' . trim(substr($out, 0, 300)));
    found('error', 'start', "webhook_queue.py, started as a web server does, ended with code $code and said: "
        . ($said === '' ? '(nothing)' : $said), 'see the lines about scripts and interpreter');
    return false;
}

/* What the web server makes of the webhook at this very address; whether that was the webhook's answer. */
function check_address()
{
    if (!isset($_SERVER['HTTP_HOST']) || !preg_match('/^[A-Za-z0-9.\-]+(:[0-9]+)?$/', $_SERVER['HTTP_HOST'])) {
        return false;
    }
    $answer = get(parse_url(own_url() . '/webhook_queue.py', PHP_URL_PATH));
    $place = own_url() . '/webhook_queue.py';
    if ($answer === null) {
        found('warning', 'address', "$place could not be asked from here", 'open it in a browser');
        return false;
    }
    list($status, $body) = $answer;
    if ($status === 405 && strpos($body, '"ok"') !== false) {
        found('ok', 'address', "$place runs");
        return true;
    }
    $causes = array(
        403 => 'it is refused: no ExecCGI, or no CGI module', 404 => 'it is not there',
        500 => 'it does not start, or .htaccess has a line the host forbids', 503 => 'it runs, but cannot work',
    );
    $remedies = array(
        403 => 'ask the host for ExecCGI and AllowOverride All on this folder, or use its cgi-bin',
        404 => 'ask the host whether CGI scripts may run in this folder',
        500 => 'see the lines about scripts, interpreter and start, and the error log of the web server',
    );
    $text = strpos(substr($body, 0, 200), '#!/') !== false;
    $why = isset($causes[$status]) ? $causes[$status] : 'not ours';
    $why = $text ? 'the text of the script is shown: CGI is off' : $why;
    $what = $text ? $remedies[403] : (isset($remedies[$status]) ? $remedies[$status] : 'see the lines above');
    found('error', 'address', "$place is answered with $status: $why", $what);
    return false;
}

function own_url()
{
    $https = (!empty($_SERVER['HTTPS']) && $_SERVER['HTTPS'] !== 'off')
        || (isset($_SERVER['HTTP_X_FORWARDED_PROTO']) && $_SERVER['HTTP_X_FORWARDED_PROTO'] === 'https');
    return ($https ? 'https' : 'http') . '://' . $_SERVER['HTTP_HOST'] . rtrim(dirname($_SERVER['SCRIPT_NAME']), '/');
}

/* array(status, beginning of the body), or null. By a socket, because allow_url_fopen is often off. Of this very web
   server, at the address where the request came in: the name in its Host header is whatever the visitor wrote. */
function get($path)
{
    $address = isset($_SERVER['SERVER_ADDR']) ? $_SERVER['SERVER_ADDR'] : '';
    if (filter_var($address, FILTER_VALIDATE_IP) === false || !isset($_SERVER['SERVER_PORT'])) {
        return null;
    }
    $host = strpos($address, ':') === false ? $address : "[$address]";
    $kind = !empty($_SERVER['HTTPS']) && $_SERVER['HTTPS'] !== 'off' ? 'ssl' : 'tcp';
    // The certificate is of the name, and nothing secret is sent.
    $name = preg_replace('/:[0-9]+$/', '', $_SERVER['HTTP_HOST']);
    $options = array('ssl' => array('peer_name' => $name, 'SNI_enabled' => true, 'verify_peer' => false,
        'verify_peer_name' => false));
    $place = "$kind://$host:" . (int) $_SERVER['SERVER_PORT'];
    $socket = @stream_socket_client($place, $code, $why, 5, STREAM_CLIENT_CONNECT, stream_context_create($options));
    if ($socket === false) {
        return null;
    }
    stream_set_timeout($socket, 5);
    fwrite($socket, "GET $path HTTP/1.0\r\nHost: {$_SERVER['HTTP_HOST']}\r\nConnection: close\r\n\r\n");
    $answer = (string) stream_get_contents($socket, MAX_OUTPUT);
    fclose($socket);
    if (!preg_match('/^HTTP\/\S+ (\d{3})/', $answer, $match)) {
        return null;
    }
    $body = strstr($answer, "\r\n\r\n");
    return array((int) $match[1], $body === false ? '' : substr($body, 4));
}

/* Only lines that say why a script did not start: others may be about anything. cPanel puts the log beside the site. */
function check_error_log()
{
    $signs = '/script headers|script output|suexec|not allowed here|Invalid command|Exec format|bad interpreter|'
        . 'No such file or directory: .*exec|ExecCGI|Permission denied: .*exec/i';
    foreach (array(__DIR__ . '/error_log', dirname(__DIR__) . '/error_log') as $path) {
        $size = @filesize($path);
        $end = $size ? (string) @file_get_contents($path, false, null, max(0, $size - MAX_OUTPUT)) : '';
        $lines = preg_grep($signs, explode("\n", $end));
        foreach (array_slice($lines ? $lines : array(), -3) as $line) {
            found('warning', 'error log', substr($line, 0, 400) . " ($path)");
        }
    }
}

/* What config.py finds, by the newest Python there is. It makes the data folder, so only its owner may let it. */
function ask_config($pythons, $answered)
{
    $python = newest($pythons);
    if ($python === null || !can_run() || own_id() !== fileowner(__DIR__)) {
        return;
    }
    // Where Telegram has the webhook, never where this request says: the secret is sent there.
    $url = $answered ? ' --url' : '';
    $home = getenv('HOME') ? getenv('HOME') : dirname(__DIR__);
    list($code, $out, $err) = run(escapeshellarg($python) . ' ' . escapeshellarg(__DIR__ . '/config.py') . $url,
        array('PATH' => WEB_PATH, 'HOME' => $home), 60);
    $some = false;
    foreach (explode("\n", $out) as $line) {
        if (preg_match('/^(ok|warning|error) +([^:]+): (.*)$/', $line, $match)) {
            found($match[1], "config.py, $match[2]", $match[3]);
            $some = true;
        }
    }
    if (!$some) {
        $said = trim(substr("$err $out", 0, 700));
        found('error', 'config.py', "$python config.py ended with code $code and said: $said",
            'upload the whole folder scalable/ again, with the folder vendor in it');
    }
}

// Small things -------------------------------------------------------------------------------------------------------

function can_run()
{
    $off = array_map('trim', explode(',', (string) ini_get('disable_functions')));
    return function_exists('proc_open') && !in_array('proc_open', $off, true);
}

/* array(exit code or text, output, errors) of a command, which is killed after that many seconds. */
function run($command, $environment, $seconds)
{
    $pipes = array();
    $wanted = array(array('file', '/dev/null', 'r'), array('pipe', 'w'), array('pipe', 'w'));
    $process = @proc_open("exec $command", $wanted, $pipes, __DIR__, $environment);
    if (!is_resource($process)) {
        return array('(not started)', '', '');
    }
    $texts = array(1 => '', 2 => '');
    $ends = microtime(true) + $seconds;
    $open = array(1 => $pipes[1], 2 => $pipes[2]);
    while ($open && microtime(true) < $ends) {
        $ready = array_values($open);
        $none = null;
        if (!@stream_select($ready, $none, $none, 0, 200000)) {
            continue;
        }
        foreach ($open as $number => $pipe) {
            if (in_array($pipe, $ready, true)) {
                $part = fread($pipe, 8192);
                $texts[$number] = substr($texts[$number] . $part, 0, MAX_OUTPUT);
                if ($part === '' || $part === false) {
                    unset($open[$number]);
                }
            }
        }
    }
    if ($open) {
        proc_terminate($process, 9);
    }
    array_map('fclose', array($pipes[1], $pipes[2]));
    $code = proc_close($process);
    return array($open ? "(stopped after $seconds s)" : $code, $texts[1], $texts[2]);
}

function mode($path)
{
    return (int) @fileperms($path) & 07777;
}

/* As whom PHP runs here: the owner of what it makes, because the extension posix may be missing; null: unknown. */
function own_id()
{
    static $id = null;
    if ($id === null && ($path = @tempnam(sys_get_temp_dir(), 'id')) !== false) {
        $id = fileowner($path);
        unlink($path);
    }
    return $id;
}

function user_name($id)
{
    $entry = $id !== null && function_exists('posix_getpwuid') ? posix_getpwuid($id) : false;
    return $entry ? $entry['name'] : ($id === null ? 'the user of PHP' : "user $id");
}

function settings_path()
{
    $named = getenv('BOT_CONFIG');
    return $named ? ($named[0] === '/' ? $named : __DIR__ . "/$named") : __DIR__ . '/.htenv';
}

/* Names and values of the settings file; in single quotes, double quotes, or plain up to a comment. */
function settings()
{
    $form = '/^\s*(?:export\s+)?(\w+)\s*=\s*(?:\'((?:[^\'\\\\]|\\\\.)*)\'|"((?:[^"\\\\]|\\\\.)*)"|(.*))/';
    $values = array();
    $text = (string) @file_get_contents(settings_path());
    $text = strncmp($text, BOM, 3) === 0 ? substr($text, 3) : $text;
    foreach (preg_split('/\r\n|\n|\r/', $text) as $line) {
        if (preg_match($form, $line, $match)) {
            $plain = isset($match[4]) ? rtrim(preg_replace('/\s+#.*$|^#.*$/', '', $match[4])) : '';
            $quoted = isset($match[2]) && $match[2] !== '' ? $match[2] : (isset($match[3]) ? $match[3] : '');
            $values[$match[1]] = $plain !== '' ? $plain : preg_replace('/\\\\([\\\\\'"])/', '$1', $quoted);
        }
    }
    return $values;
}

function hide_secrets($text)
{
    foreach (settings() as $name => $value) {
        if (strlen($value) > 3 && preg_match('/PASS|TOKEN|SECRET/', $name)) {
            $text = str_replace($value, '(hidden)', $text);
        }
    }
    return $text;
}
