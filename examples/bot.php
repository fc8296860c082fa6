<?php

declare(strict_types=1);

/*
 * A small Telegram bot in one file, for PHP 7.2 to 8.4, without dependencies.
 *
 * It is run once per update: the update arrives as JSON in the request body, or on standard input when it is
 * started from a shell. Exit code 0 means the update was handled; anything else means it was not, and the reason
 * is on stderr.
 *
 *   BOT_TOKEN     the bot's token; without it no call is made, each one is printed as a line of JSON instead
 *   BOT_API_URL   another Bot API server (default https://api.telegram.org)
 *   BOT_JOURNAL   a file that gets one line per run, see write_journal()
 */

const API_TIMEOUT_SECONDS = 20;
const HELP = "/start – say hello\n/help – this list\n/echo TEXT – get TEXT back\n/button – a button to press\n"
    . "/slow – answer after two seconds\n/fail – fail on purpose";

exit(main());

function main(): int
{
    // A warning is a bug, and would be printed between the lines of JSON: make it an ordinary failure.
    set_error_handler(function (int $severity, string $message, string $file, int $line): bool {
        if (!(error_reporting() & $severity)) {
            return false; // Silenced with @.
        }
        throw new ErrorException($message, 0, $severity, $file, $line);
    });
    $started = microtime(true);
    $update = [];
    try {
        $update = read_update();
        foreach (answers($update) as $call) {
            perform($call);
        }
        return 0;
    } catch (Throwable $error) {
        if (!headers_sent()) {
            http_response_code(500); // As a webhook: Telegram sends the update again.
        }
        file_put_contents('php://stderr', 'bot.php: ' . $error->getMessage() . "\n");
        return 1;
    } finally {
        write_journal($update, $started);
    }
}

/** The update as an array. php://input is empty when PHP runs in a shell; there it comes on standard input. */
function read_update(): array
{
    $raw = (string) file_get_contents('php://input');
    if ($raw === '' && PHP_SAPI === 'cli') {
        $raw = (string) file_get_contents('php://stdin');
    }
    if (trim($raw) === '') {
        throw new RuntimeException('no input: expected a Telegram update as JSON');
    }
    $update = json_decode($raw, true);
    if (json_last_error() !== JSON_ERROR_NONE) {
        throw new RuntimeException('the input is not valid JSON: ' . json_last_error_msg());
    }
    if (!is_array($update) || !is_int($update['update_id'] ?? null)) {
        throw new RuntimeException('the input is not a Telegram update: expected an object with an update_id');
    }
    return $update;
}

/** The method calls that answer an update, in order; none for an update that is not for this bot. */
function answers(array $update): array
{
    if (isset($update['message'])) {
        return answer_message($update['message']);
    }
    if (isset($update['callback_query'])) {
        return answer_button($update['callback_query']);
    }
    if (isset($update['inline_query'])) {
        return answer_inline_query($update['inline_query']);
    }
    return [];
}

function answer_message(array $message): array
{
    // "/echo@example_bot some text": command, optional name of the bot, optional text.
    if (!preg_match('~\A/([a-z]+)(?:@\w+)?(?:\s+(.*))?\z~s', $message['text'] ?? '', $found)) {
        return [];
    }
    switch ($found[1]) {
        case 'start':
            $name = $message['from']['first_name'] ?? 'friend';
            return [reply($message, "Hello, $name! 👋\nSend /help to see what I can do.")];
        case 'help':
            return [reply($message, HELP)];
        case 'echo':
            $text = $found[2] ?? '';
            return [reply($message, $text === '' ? 'Write some text after /echo.' : $text)];
        case 'button':
            $button = ['text' => 'Press me 👇', 'callback_data' => 'pressed'];
            $keyboard = ['reply_markup' => ['inline_keyboard' => [[$button]]]];
            return [reply($message, 'Here is a button.') + $keyboard];
        case 'slow':
            sleep(2);
            return [reply($message, 'That took two seconds. 🐢')];
        case 'fail':
            throw new RuntimeException('this update asked for a failure with /fail');
        default:
            return [];
    }
}

/** A sendMessage to where the message came from. Plain text, so that <, & and * come back as they were. */
function reply(array $message, string $text): array
{
    $call = ['method' => 'sendMessage', 'chat_id' => $message['chat']['id'], 'text' => $text];
    if ($message['is_topic_message'] ?? false) {
        $call['message_thread_id'] = $message['message_thread_id'];
    }
    return $call;
}

function answer_button(array $query): array
{
    $thanks = ['method' => 'answerCallbackQuery', 'callback_query_id' => $query['id']];
    if (($query['data'] ?? '') !== 'pressed') {
        return [$thanks]; // Some other button: only stop the progress bar on it.
    }
    $thanks['text'] = 'Thank you! 🎉';
    $edit = ['method' => 'editMessageText', 'text' => 'Pressed by ' . $query['from']['first_name'] . '.'];
    if (isset($query['message'])) {
        $edit['chat_id'] = $query['message']['chat']['id'];
        $edit['message_id'] = $query['message']['message_id'];
    } else {
        $edit['inline_message_id'] = $query['inline_message_id'];
    }
    return [$thanks, $edit];
}

function answer_inline_query(array $query): array
{
    $text = $query['query'] === '' ? 'Hello! 👋' : $query['query'];
    $article = ['type' => 'article', 'id' => 'echo', 'title' => 'Send this text', 'description' => $text];
    $article['input_message_content'] = ['message_text' => $text];
    $call = ['method' => 'answerInlineQuery', 'inline_query_id' => $query['id']];
    return [$call + ['results' => [$article], 'cache_time' => 0]];
}

/** Makes the call, or prints it when there is no token. */
function perform(array $call): void
{
    $token = (string) getenv('BOT_TOKEN');
    if ($token === '') {
        echo to_json($call), "\n";
        return;
    }
    $method = $call['method'];
    unset($call['method']);
    $server = rtrim(getenv('BOT_API_URL') ?: 'https://api.telegram.org', '/');
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => 'Content-Type: application/json',
        'content' => to_json($call),
        'timeout' => API_TIMEOUT_SECONDS,
        'ignore_errors' => true, // The reason of an error is in the body.
    ]]);
    $body = @file_get_contents("$server/bot$token/$method", false, $context);
    if ($body === false) {
        // PHP's own message holds the address, and so the token.
        $reason = str_replace($token, '<token>', error_get_last()['message'] ?? 'no answer');
        throw new RuntimeException("$method failed: $reason");
    }
    $answer = json_decode($body, true);
    if (($answer['ok'] ?? false) !== true) {
        throw new RuntimeException("$method failed: " . ($answer['description'] ?? 'the answer is not from the Bot API'));
    }
}

function to_json(array $value): string
{
    return (string) json_encode($value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
}

/** For tests of a queue: proves which process handled which update, and when. A real bot does not need it. */
function write_journal(array $update, float $started): void
{
    if ($file = getenv('BOT_JOURNAL')) {
        $run = ['update_id' => $update['update_id'] ?? null, 'pid' => getmypid()];
        $run += ['started' => $started, 'ended' => microtime(true)];
        file_put_contents($file, to_json($run) . "\n", FILE_APPEND | LOCK_EX);
    }
}
