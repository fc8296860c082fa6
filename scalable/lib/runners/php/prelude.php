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
        self::$pid = function_exists('getmypid') ? getmypid() : 0;
        self::$reserve = str_repeat('x', 131072);
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

/* `php://` of a bot that is run by `cli`: php://input holds the update, and everything else is what it always was. */
final class ScalablePhpStream
{
    public $context;
    private $stream = false;

    public function stream_open($path, $mode, $options, &$opened)
    {
        stream_wrapper_restore('php');
        try {
            $this->stream = $this->open($path, $mode, $options);
        } finally {
            stream_wrapper_unregister('php');
            stream_wrapper_register('php', __CLASS__);
        }
        return $this->stream !== false;
    }

    public function stream_read($count)
    {
        return fread($this->stream, $count);
    }

    public function stream_write($data)
    {
        return (int) fwrite($this->stream, $data);
    }

    public function stream_eof()
    {
        return feof($this->stream);
    }

    public function stream_tell()
    {
        return ftell($this->stream);
    }

    public function stream_seek($offset, $whence)
    {
        return @fseek($this->stream, $offset, $whence) === 0;
    }

    public function stream_flush()
    {
        return fflush($this->stream);
    }

    public function stream_truncate($size)
    {
        return ftruncate($this->stream, $size);
    }

    public function stream_lock($operation)
    {
        return $operation !== 0 && flock($this->stream, $operation);
    }

    public function stream_stat()
    {
        return fstat($this->stream);
    }

    public function stream_cast($as)
    {
        return $this->stream;
    }

    public function stream_set_option($option, $first, $second)
    {
        switch ($option) {
            case STREAM_OPTION_BLOCKING:
                return stream_set_blocking($this->stream, $first);
            case STREAM_OPTION_READ_TIMEOUT:
                return stream_set_timeout($this->stream, $first, $second);
            case STREAM_OPTION_WRITE_BUFFER:
                return stream_set_write_buffer($this->stream, $second) === 0;
        }
        return false;
    }

    public function stream_close()
    {
        fclose($this->stream);
    }

    /* XML parsers of PHP look at a file before they open it; file_exists() asks quietly, and is to hear no as always. */
    public function url_stat($path, $flags)
    {
        if ($flags & STREAM_URL_STAT_QUIET) {
            return false;
        }
        $size = strcasecmp($path, 'php://input') === 0 ? strlen(ScalablePrelude::$body) : 0;
        return array('dev' => 0, 'ino' => 0, 'mode' => 0100600, 'nlink' => 1, 'uid' => 0, 'gid' => 0, 'rdev' => 0,
            'size' => $size, 'atime' => 0, 'mtime' => 0, 'ctime' => 0, 'blksize' => -1, 'blocks' => -1);
    }

    private function open($path, $mode, $options)
    {
        $isIncluded = ($options & 128) !== 0; // STREAM_OPEN_FOR_INCLUDE, which has no name in PHP
        if ($isIncluded && !ini_get('allow_url_include') && preg_match('~^php://(input|stdin|fd/)~i', $path)) {
            return false;
        }
        if (strcasecmp($path, 'php://input') === 0) {
            return $this->update();
        }
        if (preg_match('~^php://filter/(.*?)/?resource=php://input$~i', $path, $found)) {
            return $this->filtered($this->update(), $found[1]);
        }
        $usePath = ($options & STREAM_USE_PATH) !== 0;
        $isLoud = ($options & STREAM_REPORT_ERRORS) !== 0;
        if (is_resource($this->context)) {
            return $isLoud
                ? fopen($path, $mode, $usePath, $this->context)
                : @fopen($path, $mode, $usePath, $this->context);
        }
        return $isLoud ? fopen($path, $mode, $usePath) : @fopen($path, $mode, $usePath);
    }

    private function update()
    {
        $stream = fopen('php://memory', 'w+b');
        fwrite($stream, ScalablePrelude::$body);
        rewind($stream);
        return $stream;
    }

    /* With the filters of a php://filter address, such as `read=string.rot13|string.toupper`. */
    private function filtered($stream, $filters)
    {
        foreach (array_filter(explode('/', $filters)) as $part) {
            if (strncmp($part, 'write=', 6) === 0) {
                continue;
            }
            foreach (explode('|', preg_replace('~^read=~', '', $part)) as $filter) {
                stream_filter_append($stream, rawurldecode($filter), STREAM_FILTER_READ);
            }
        }
        return $stream;
    }
}
