<?php
/*
 * Starts a Python script of this folder: for one request, as a web server starts a CGI script (RFC 3875), or in a shell
 * in the place of this process. Included by door.php where no pool has answered, and in a shell.
 */

/* Under the time in which a web server and Telegram give up, with what went before (door.php). A tick lets a worker run
   for 25 seconds before it answers. */
const SCALABLE_SCRIPT_SECONDS = array('webhook_queue' => 20, 'dashboard' => 30, 'worker' => 45);
/* How long a script may go on that has given its whole answer: it may be starting a worker. */
const SCALABLE_AFTER_SECONDS = 10;
const SCALABLE_MAX_ANSWER = 67108864;
/* Where programs are looked for without a PATH of the owner's (lib/usual_path.py). */
const SCALABLE_PATH = '/usr/local/bin:/usr/bin:/bin';
/*
 * For /bin/sh, with the file to note the path in, or nothing, and the script with its arguments: becomes the first
 * Python from 3.9 on. The shell searches, because open_basedir keeps PHP itself from looking. Where hosts keep Python:
 * see find_pythons in doctor.php.
 */
const SCALABLE_SEARCH = <<<'SH'
note=$1; shift
for python in python3 /usr/bin/python3.1? /usr/bin/python3.9 /usr/local/bin/python3.1? /usr/local/bin/python3.9 \
    /opt/alt/python31?/bin/python3 /opt/alt/python39/bin/python3 /opt/python3.1?/bin/python3 /opt/python*/bin/python3 \
    /opt/cpanel/ea-python31?/root/usr/bin/python3 /opt/cpanel/ea-python39/root/usr/bin/python3; do
    python=$(command -v "$python" 2>/dev/null) || continue
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' </dev/null >/dev/null 2>&1 || continue
    if [ -n "$note" ]; then
        (umask 077; printf '%s' "$python" >"$note.$$" && mv -f "$note.$$" "$note") 2>/dev/null
    fi
    exec "$python" "$@"
done
echo 'Scalable mode needs Python 3.9 or newer, and there is none in the usual places' >&2
exit 127
SH;
/* The same in a shell where PHP cannot become another program: its end is the end of what it started, by TERM. */
const SCALABLE_WATCH = <<<'SH'
php=$1; search=$2; shift 2; exec 3<&0
/bin/sh -c "$search" sh '' "$@" <&3 3<&- & child=$!
trap 'kill -TERM $child' TERM HUP INT
(exec 3<&-; while kill -0 "$php" 2>/dev/null && kill -0 $child 2>/dev/null; do sleep 1; done; kill -TERM $child) \
    >/dev/null 2>&1 &
wait $child; code=$?
while kill -0 $child 2>/dev/null; do wait $child; code=$?; done
exit $code
SH;

/* Whether the script `$name`.py has answered this request. */
function scalable_answer_by_python($folder, $name, $variables, $body, $data_folder)
{
    $script = "$folder/$name.py";
    foreach (array('proc_open', 'proc_close', 'proc_get_status', 'proc_terminate') as $needed) {
        if (!function_exists($needed)) {
            return false;
        }
    }
    if (!is_file($script)) {
        return false;
    }
    $environment = array('PATH' => SCALABLE_PATH, 'GATEWAY_INTERFACE' => 'CGI/1.1') + $variables;
    foreach (array('HOME', 'LANG', 'TZ') as $wanted) {
        if (getenv($wanted) !== false) {
            $environment[$wanted] = getenv($wanted);
        }
    }
    $note = "$data_folder/.ht-python";
    $known = scalable_known_python($script, $note);
    $search = '/bin/sh -c ' . scalable_quoted(SCALABLE_SEARCH) . ' sh '
        . scalable_quoted(is_dir($data_folder) && scalable_is_ours($data_folder) ? $note : '');
    // What is known may not start any more, since the host has another Python.
    $commands = $known === null ? array($search) : array($known, $search);
    $ends = microtime(true) + SCALABLE_SCRIPT_SECONDS[$name];
    foreach ($commands as $command) {
        if (scalable_answer_by("$command " . scalable_quoted($script), $environment, $body, $folder, $ends)) {
            return true;
        }
    }
    return false;
}

/* The program and its option, as a shell takes them, by the script's first line or by what was noted; null: search. */
function scalable_known_python($script, $note)
{
    $line = (string) @file_get_contents($script, false, null, 0, 128);
    if (preg_match('/\A#! ?(\/\S*\/python[0-9.]*)(?: (-[A-Za-z]+))?\r?\n/', $line, $found)) {
        return scalable_quoted($found[1]) . (isset($found[2]) ? " $found[2]" : '');
    }
    $noted = scalable_is_ours($note) && !(fileperms($note) & 022) ? (string) @file_get_contents($note) : '';
    return preg_match('/\A\/[^\0\r\n]+\z/', $noted) ? scalable_quoted($noted) : null;
}

/* escapeshellarg, which some hosts forbid. */
function scalable_quoted($text)
{
    return "'" . str_replace("'", "'\\''", $text) . "'";
}

/* Whether this command has answered the request. Its standard error is that of this process: the server's log. */
function scalable_answer_by($command, $environment, $body, $folder, $ends)
{
    $pipes = array();
    $wanted = array(array('pipe', 'r'), array('pipe', 'w'));
    $process = @proc_open("exec $command", $wanted, $pipes, $folder, $environment);
    if (!is_resource($process)) {
        return false;
    }
    $answer = scalable_converse($pipes[0], $pipes[1], $body, $ends);
    $has_answered = $answer !== null && scalable_pass_on($answer);
    if ($has_answered) {
        function_exists('fastcgi_finish_request') ? fastcgi_finish_request() : flush();
    } elseif ($answer === null) {
        proc_terminate($process, 9);
    }
    scalable_wait_for($process);
    return $has_answered;
}

/* What comes out, while the body goes in; null when that takes too long. */
function scalable_converse($in, $out, $body, $ends)
{
    stream_set_blocking($in, false);
    stream_set_blocking($out, false);
    $answer = '';
    while (true) {
        if ($in !== null && $body === '') {
            fclose($in);
            $in = null;
        }
        $left = $ends - microtime(true);
        $readable = array($out);
        $writable = $in === null ? array() : array($in);
        $none = null;
        if ($left <= 0 || strlen($answer) > SCALABLE_MAX_ANSWER
            || !@stream_select($readable, $writable, $none, (int) $left, (int) (fmod($left, 1) * 1e6))) {
            return null;
        }
        if ($writable) {
            $sent = @fwrite($in, $body);
            $body = $sent ? (string) substr($body, $sent) : '';  // a script that refuses a body does not read it
        }
        if ($readable) {
            $part = fread($out, 65536);
            if (($part === '' || $part === false) && feof($out)) {
                return $answer;
            }
            $answer .= $part;
        }
    }
}

function scalable_wait_for($process)
{
    $ends = microtime(true) + SCALABLE_AFTER_SECONDS;
    while (proc_get_status($process)['running']) {
        if (microtime(true) > $ends) {
            proc_terminate($process, 9);
        }
        usleep(2000);
    }
    proc_close($process);
}

/* Become the Python script in a shell, or run it there; its exit code. */
function scalable_run_in_shell($folder, $name)
{
    $arguments = isset($_SERVER['argv']) ? array_slice($_SERVER['argv'], 1) : array();
    $words = array_merge(array("$folder/$name.py"), $arguments);
    if (function_exists('pcntl_exec')) {
        @pcntl_exec('/bin/sh', array_merge(array('-c', SCALABLE_SEARCH, 'sh', ''), $words));
    }
    if (!function_exists('proc_open')) {
        fwrite(fopen('php://stderr', 'w'), "PHP may start no programs here (disable_functions); type instead:\n"
            . "  python3 $folder/$name.py\n");
        return 2;
    }
    $words = array_merge(array('/bin/sh', '-c', SCALABLE_WATCH, 'sh', (string) getmypid(), SCALABLE_SEARCH), $words);
    $process = proc_open('exec ' . implode(' ', array_map('scalable_quoted', $words)), array(), $pipes);
    return is_resource($process) ? proc_close($process) : 2;
}
