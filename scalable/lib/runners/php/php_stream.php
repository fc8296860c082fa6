<?php
/*
 * Part of prelude.php, which includes it for the interface `cli`; the same syntax, and nothing by itself.
 */

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
