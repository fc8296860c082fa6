<?php
/*
 * Put before the bot by a worker (auto_prepend_file): it gives the bot the request that the webhook got, and reports how
 * the script ended. The worker tells it what to do in the variable SCALABLE_RUN; without that, as when somebody opens
 * this file in a browser, it does nothing.
 *
 * Parsed by the PHP that runs the bot: syntax of PHP 5.6, and nothing that PHP 8.5 calls deprecated. It leaves no
 * variable behind, because it shares the global ones with the bot.
 */

if (ScalablePrelude::begin()) {
    if (!function_exists('fastcgi_finish_request')) {
        function fastcgi_finish_request()
        {
            return ScalablePrelude::finishRequest();
        }
    }
    if (PHP_SAPI === 'cli' && !function_exists('getallheaders')) {
        function getallheaders()
        {
            return ScalablePrelude::headers();
        }
    }
    if (PHP_SAPI === 'cli' && !function_exists('apache_request_headers')) {
        function apache_request_headers()
        {
            return ScalablePrelude::headers();
        }
    }
    // Here, because a file that php.ini or .user.ini puts before the bot is to see the bot's global variables.
    if (ScalablePrelude::$prepend !== '') {
        require ScalablePrelude::$prepend;
    }
}

final class ScalablePrelude
{
    /* A file to run before the bot, which the host or the owner put there; empty: none. */
    public static $prepend = '';
    /* The bot, where fpm_entry.php is the main script; empty: the bot is that itself. */
    public static $bot = '';
    /* What php://input holds in the interface `cli`. */
    public static $body = '';

    /* Random for every run and known to the worker alone: only a line that has it is a report. */
    private static $key = '';
    private static $pid = 0;
    private static $channel = null;
    private static $status = null;
    private static $isFinished = false;
    /* Freed at the end, so that a report can be made after the memory limit was reached. */
    private static $reserve = '';
    /* The file that is PHP's error log, how long it was when the script began, and when that was. */
    private static $log = '';
    private static $logBytes = 0;
    private static $began = 0;
    /* Of what the bot printed: what is kept back, how much of that at most, and the size of what was passed on. */
    private static $held = '';
    private static $heldLimit = 0;
    private static $passedOn = 0;
    private static $isAnswered = false;
    private static $goesOnAnyway = false;

    public static function begin()
    {
        $told = self::told();
        // runners/php/prelude.py has the same list, and leaves the prelude out where one of these is disabled.
        $needed = array('error_get_last', 'error_log', 'fopen', 'fwrite', 'fread', 'http_response_code',
            'register_shutdown_function', 'rewind', 'stream_get_contents', 'stream_wrapper_register', 'stream_wrapper_restore',
            'stream_wrapper_unregister');
        if (!isset($told['key']) || array_filter($needed, 'function_exists') !== $needed) {
            return false;
        }
        self::$key = $told['key'];
        self::$prepend = $told['prepend'];
        if (isset($told['bot']) && !self::isReady($told['bot'], isset($told['probe']))) {
            return false;
        }
        self::$pid = function_exists('getmypid') ? getmypid() : 0;
        self::$reserve = str_repeat('x', 131072);
        self::replaceBuffer();
        if (PHP_SAPI === 'cli') {
            // One of its own: the bot may close STDERR, and open something else in its place.
            self::$channel = fopen('php://stderr', 'w');
            self::giveRequest($told);
        }
        self::$began = time();
        self::$log = self::logFile();
        self::$logBytes = self::sizeOf(self::$log);
        register_shutdown_function(array('ScalablePrelude', 'atEnd'));
        return true;
    }

    /* The first of the shutdown functions. One of the bot may call exit(), and then the later ones are not called. */
    public static function atEnd()
    {
        self::$reserve = '';
        self::reportEnd();
        register_shutdown_function(array('ScalablePrelude', 'reportEnd'));
    }

    public static function reportEnd()
    {
        if (function_exists('getmypid') && getmypid() !== self::$pid) { // a child that the bot forked
            return;
        }
        if (self::$isFinished && !headers_sent()) { // of an answer without a body nothing is on its way yet
            http_response_code(self::$status === '' ? 200 : (int) self::$status);
        }
        $error = error_get_last();
        self::reportLog();
        if ($error !== null && self::isFatal($error)) {
            $lines = explode("\n", $error['message'], 2);
            self::report(array('end' => 'fatal', 'type' => $error['type'], 'text' => substr($lines[0], 0, 500),
                'file' => $error['file'], 'line' => $error['line']));
            return;
        }
        $status = self::$status === null ? self::responseCode() : self::$status;
        self::report(array('end' => 'normal', 'status' => $status));
    }

    /* As under PHP-FPM: what was printed is sent, what is printed from now on is not, and the script goes on. */
    public static function finishRequest()
    {
        if (self::$isFinished) {
            return false;
        }
        self::$isFinished = true;
        while (ob_get_level() > 0 && @ob_end_flush()) {
            continue;
        }
        flush();
        self::$status = self::responseCode();
        self::report(array('end' => 'answered', 'status' => self::$status));
        flush(); // which sends the report, too
        ob_start(array('ScalablePrelude', 'discard'));
        return true;
    }

    public static function discard()
    {
        return '';
    }

    /*
     * Instead of the buffer of php.ini, and the same but for one thing: an answer that is whole, of a bot that goes on
     * without whoever asked, is passed on, so that the flush() of a bot that knows of no buffer sends it.
     */
    public static function hold($printed, $phase)
    {
        if ($phase & PHP_OUTPUT_HANDLER_CLEAN) {
            self::$held = '';
            return '';
        }
        self::$held .= $printed;
        self::$isAnswered = self::$isAnswered || self::isWholeAnswer(self::$passedOn + strlen(self::$held));
        $isDue = ($phase & (PHP_OUTPUT_HANDLER_FLUSH | PHP_OUTPUT_HANDLER_FINAL)) !== 0;
        if (!$isDue && !self::$isAnswered && strlen(self::$held) < self::$heldLimit) {
            return '';
        }
        $passed = self::$held;
        self::$held = '';
        self::$passedOn += strlen($passed);
        return $passed;
    }

    public static function headers()
    {
        $headers = array();
        foreach ($_SERVER as $name => $value) {
            $isHeader = strncmp($name, 'HTTP_', 5) === 0;
            if ($isHeader || $name === 'CONTENT_TYPE' || $name === 'CONTENT_LENGTH') {
                $words = strtolower(str_replace('_', ' ', $isHeader ? substr($name, 5) : $name));
                $headers[str_replace(' ', '-', ucwords($words))] = $value;
            }
        }
        return $headers;
    }

    /* What the worker told, by name. The bot and its children do not see it. */
    private static function told()
    {
        $text = getenv('SCALABLE_RUN');
        if (!is_string($text) || $text === '') {
            return array();
        }
        unset($_SERVER['SCALABLE_RUN'], $_ENV['SCALABLE_RUN']);
        if (function_exists('putenv')) {
            putenv('SCALABLE_RUN');
        }
        $told = array();
        foreach (explode('&', $text) as $pair) {
            list($name, $value) = explode('=', $pair, 2);
            $told[rawurldecode($name)] = rawurldecode($value);
        }
        return $told;
    }

    /* Of a request whose main script is fpm_entry.php: what the bot sees is as if it were that. A probe runs nothing. */
    private static function isReady($bot, $isProbe)
    {
        $isReady = function_exists('chdir') && is_readable($bot) && chdir(dirname($bot));
        if ($isProbe) {
            echo $isReady ? self::$key : '';
            self::report(array('end' => 'probe'));
            return false;
        }
        $_SERVER['SCRIPT_FILENAME'] = $bot;
        if (isset($_ENV['SCRIPT_FILENAME'])) {
            $_ENV['SCRIPT_FILENAME'] = $bot;
        }
        self::$bot = $bot;
        return true;
    }

    /* For `cli`, which knows no request. The worker's standard input is a file, so it can be read again. */
    private static function giveRequest($told)
    {
        self::$body = (string) stream_get_contents(STDIN);
        rewind(STDIN);
        foreach ($told as $name => $value) {
            if (strncmp($name, 'server.', 7) === 0) {
                $_SERVER[substr($name, 7)] = $value;
            }
        }
        unset($_SERVER['PATH_TRANSLATED']);
        $_SERVER['CONTENT_LENGTH'] = (string) strlen(self::$body);
        $_SERVER['PHP_SELF'] = $_SERVER['SCRIPT_NAME'];
        parse_str($_SERVER['QUERY_STRING'], $_GET);
        $_REQUEST = $_GET + $_REQUEST;
        if (PHP_VERSION_ID < 70000) {
            $GLOBALS['HTTP_RAW_POST_DATA'] = self::$body;
        }
        require __DIR__ . '/php_stream.php';
        stream_wrapper_unregister('php');
        stream_wrapper_register('php', 'ScalablePhpStream');
    }

    /* What was added to PHP's error log, where that is a file: the worker gets everything else as it is written. */
    private static function reportLog()
    {
        $file = self::logFile();
        $bytes = self::sizeOf($file);
        $from = $file === self::$log && $bytes >= self::$logBytes ? self::$logBytes : 0;
        if ($bytes <= $from) {
            return;
        }
        $first = max($from, $bytes - 2000);
        $text = self::quietly(function () use ($file, $first) {
            return file_get_contents($file, false, null, $first, 2000);
        });
        if ($file !== self::$log) { // the bot has chosen another file: only what is of this run's time
            $text = self::since((string) $text, self::$began);
        }
        if (is_string($text) && trim($text) !== '') {
            self::report(array('end' => 'logged', 'log' => $text));
        }
    }

    /* The path of the file; empty: what is logged goes to standard error, or to the system's log. */
    private static function logFile()
    {
        $name = function_exists('ini_get') ? (string) ini_get('error_log') : '';
        if ($name === '' || $name === 'syslog' || !function_exists('getcwd')) {
            return '';
        }
        return $name[0] === '/' ? $name : getcwd() . '/' . $name;
    }

    private static function sizeOf($file)
    {
        if ($file === '' || !function_exists('file_get_contents')) {
            return 0;
        }
        return (int) self::quietly(function () use ($file) {
            clearstatcache();
            return is_file($file) ? filesize($file) : 0;
        });
    }

    /* The text from the first line on that PHP stamped with this time or a later one. */
    private static function since($text, $time)
    {
        preg_match_all('~^\[(\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d [\w/+:-]+)\] ~m', $text, $found, PREG_OFFSET_CAPTURE);
        foreach ($found[1] as $stamp) {
            if (strtotime($stamp[0]) >= $time) {
                return substr($text, $stamp[1] - 1);
            }
        }
        return '';
    }

    /* Without a message, or a call of the bot's own error handler, where open_basedir or a right forbids it. */
    private static function quietly($work)
    {
        set_error_handler(array('ScalablePrelude', 'ignoreError'));
        $result = $work();
        restore_error_handler();
        return $result;
    }

    public static function ignoreError()
    {
        return true;
    }

    private static function replaceBuffer()
    {
        $used = array('headers_list', 'ignore_user_abort', 'ob_get_clean', 'ob_get_level', 'ob_get_status', 'ob_start');
        if (array_filter($used, 'function_exists') !== $used || ob_get_level() !== 1) {
            return;
        }
        $buffer = ob_get_status();
        if ($buffer['name'] !== 'default output handler' || self::readsTheBuffer()) {
            return;
        }
        self::$goesOnAnyway = (bool) ignore_user_abort();
        self::$heldLimit = $buffer['chunk_size'] > 0 ? $buffer['chunk_size'] : PHP_INT_MAX;
        self::$held = ob_get_clean();
        ob_start(array('ScalablePrelude', 'hold'), 1);
    }

    /* Whether the bot may rely on finding in the buffer of php.ini what it printed: in ours it would not be. */
    private static function readsTheBuffer()
    {
        $source = (string) @file_get_contents($_SERVER['SCRIPT_FILENAME']);
        return preg_match('~\bob_get_(clean|contents|flush|length|status)\b~i', $source)
            && !preg_match('~\bob_start\b~i', $source);
    }

    /* Of a success with so many bytes, by its Content-Length, where the bot says that it does not wait for anybody. */
    private static function isWholeAnswer($bytes)
    {
        $goesOn = ignore_user_abort() && !self::$goesOnAnyway;
        $isWhole = false;
        foreach (headers_list() as $header) {
            if (preg_match('~^content-length:\s*(\d+)\s*$~i', $header, $found)) {
                $isWhole = $bytes >= (int) $found[1];
            }
            $goesOn = $goesOn || preg_match('~^connection:\s*close\s*$~i', $header);
        }
        return $goesOn && $isWhole && strncmp(self::responseCode(), '2', 1) === 0;
    }

    private static function isFatal($error)
    {
        // Before PHP 7 a script goes on after a parse error in eval().
        if ($error['type'] === E_PARSE && PHP_VERSION_ID < 70000 && strpos($error['file'], "eval()'d code") !== false) {
            return false;
        }
        return in_array($error['type'], array(E_ERROR, E_PARSE, E_CORE_ERROR, E_COMPILE_ERROR, E_USER_ERROR,
            E_RECOVERABLE_ERROR), true);
    }

    private static function responseCode()
    {
        return (string) http_response_code();
    }

    private static function report($fields)
    {
        $pairs = array();
        foreach ($fields as $name => $value) {
            $pairs[] = $name . '=' . rawurlencode((string) $value);
        }
        $line = '[' . self::$key . ':' . implode('&', $pairs) . ']';
        if (self::$channel !== null) {
            fwrite(self::$channel, $line . "\n");
        } else {
            error_log($line, 4); // to the web server's log, whatever error_log of php.ini says
        }
    }
}
