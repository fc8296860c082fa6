<?php
# Quiz bot, one file. Every answer goes back in the webhook response, as a form
$secret = 'quiz_secret-7';
if (!isset($_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN'])
    || $_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN'] != $secret) {
    header('HTTP/1.1 403 Forbidden');
    die();
}

$token = getenv('BOT_TOKEN');
$api = getenv('BOT_API_URL') ? getenv('BOT_API_URL') : 'https://api.telegram.org';
$questions = array(
    array('2 + 2?', '4', array('3', '4', '5')),
    array('Ibu kota Jepang & "Nippon"?', 'Tokyo', array('Kyoto', 'Tokyo')),
    array('5 > 3 = ?', 'ya', array('ya', 'tidak')),
);

function out($params)
{
    header('Content-Type: application/x-www-form-urlencoded');
    die(http_build_query($params));
}

function call($method, $params)
{
    global $api, $token;
    return file_get_contents("$api/bot$token/$method?" . http_build_query($params));
}

function ask($chat, $number)
{
    global $questions;
    $buttons = array();
    foreach ($questions[$number][2] as $choice) {
        $buttons[] = array('text' => $choice, 'callback_data' => "$number|$choice");
    }
    return array(
        'method' => 'sendMessage', 'chat_id' => $chat, 'text' => $questions[$number][0],
        'reply_markup' => json_encode(array('inline_keyboard' => array($buttons))),
    );
}

$u = json_decode(file_get_contents('php://input'), true);
$chat = 0;
if (isset($u['message']['text'])) {
    $chat = $u['message']['chat']['id'];
    $text = $u['message']['text'];
} elseif (isset($u['callback_query']['message'])) {
    $chat = $u['callback_query']['message']['chat']['id'];
}
$file = dirname(__FILE__) . "/score-$chat.txt";

if (isset($u['callback_query'])) {
    $query = $u['callback_query'];
    $parts = explode('|', isset($query['data']) ? $query['data'] : '');
    if (count($parts) != 2 || !$chat) {
        out(array('method' => 'answerCallbackQuery', 'callback_query_id' => $query['id'], 'text' => '?'));
    }
    $right = $questions[(int) $parts[0]][1] == $parts[1];
    if ($right) {
        file_put_contents($file, (int) @file_get_contents($file) + 1);
    }
    call('answerCallbackQuery', array('callback_query_id' => $query['id'], 'text' => $right ? 'Benar! 🎉' : 'Salah'));
    out(array(
        'method' => 'editMessageText', 'chat_id' => $chat, 'message_id' => $query['message']['message_id'],
        'text' => $questions[(int) $parts[0]][0] . ' ' . ($right ? '✅' : '❌'),
    ));
}
if (!$chat) {
    die('OK');
}
if ($text == '/start') {
    call('sendMessage', array('chat_id' => $chat, 'text' => "Kuis!\nKetik /ask 1, /ask 2, /ask 3 atau /score"));
    out(ask($chat, 0));
} elseif (preg_match('/^\/ask (\d)/', $text, $m) && isset($questions[$m[1] - 1])) {
    out(ask($chat, $m[1] - 1));
} elseif ($text == '/score') {
    out(array('method' => 'sendMessage', 'chat_id' => $chat, 'text' => 'Skor: ' . (int) @file_get_contents($file)));
} elseif ($text == '/break') {
    if (!file_exists("$file.broken")) {
        touch("$file.broken");
        header('HTTP/1.1 500 Internal Server Error');
        die('try again');
    }
    out(array('method' => 'sendMessage', 'chat_id' => $chat, 'text' => 'Pulih.'));
} else {
    out(array('method' => 'sendMessage', 'chat_id' => $chat, 'text' => $text));
}
