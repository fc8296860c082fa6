<?php
// Warung order bot. Set the webhook to https://…/order_bot.php with secret_token = WEBHOOK_SECRET
error_reporting(E_ALL);
ini_set('display_errors', '0');

define('BOT_TOKEN', getenv('BOT_TOKEN'));
define('API', (getenv('BOT_API_URL') ?: 'https://api.telegram.org') . '/bot' . BOT_TOKEN . '/');
define('WEBHOOK_SECRET', 'warung-2024');
define('DB_FILE', __DIR__ . '/orders.json');

$MENU = ['nasi' => 'Nasi goreng 🍛', 'mie' => 'Mie ayam 🍜', 'teh' => 'Es teh <manis> & dingin'];

if (($_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN'] ?? '') !== WEBHOOK_SECRET) {
    http_response_code(403);
    exit('forbidden');
}

$update = json_decode(file_get_contents('php://input'), true);
if (!$update) {
    exit('no update');
}

// ---- helpers -------------------------------------------------------------

function bot($method, $data = [])
{
    $options = ['http' => [
        'method' => 'POST',
        'header' => "Content-Type: application/json\r\n",
        'content' => json_encode($data),
        'timeout' => 10,
        'ignore_errors' => true,
    ]];
    $result = json_decode(file_get_contents(API . $method, false, stream_context_create($options)), true);
    return $result['result'] ?? null;
}

// Answer Telegram right in the webhook response, saves one request
function answer($method, $data)
{
    header('Content-Type: application/json');
    echo json_encode(['method' => $method] + $data);
    exit;
}

function db($change = null)
{
    $file = fopen(DB_FILE, 'c+');
    flock($file, LOCK_EX);
    $db = json_decode(stream_get_contents($file), true) ?: [];
    if ($change) {
        $db = $change($db);
        ftruncate($file, 0);
        rewind($file);
        fwrite($file, json_encode($db));
    }
    fclose($file);
    return $db;
}

function keyboard($menu)
{
    $rows = [];
    foreach ($menu as $key => $name) {
        $rows[] = [['text' => $name, 'callback_data' => 'add:' . $key]];
    }
    return ['inline_keyboard' => $rows];
}

// ---- messages ------------------------------------------------------------

if (isset($update['message'])) {
    $message = $update['message'];
    $chat_id = $message['chat']['id'];
    $text = trim($message['text'] ?? '');
    $name = $message['from']['first_name'] ?? 'kak';

    if (isset($message['successful_payment'])) {
        answer('sendMessage', ['chat_id' => $chat_id, 'text' => 'Terima kasih! 🙏']);
    }
    if (isset($message['photo'])) {
        bot('sendChatAction', ['chat_id' => $chat_id, 'action' => 'typing']);
        answer('sendMessage', [
            'chat_id' => $chat_id, 'text' => 'Foto bagus!', 'reply_to_message_id' => $message['message_id'],
        ]);
    }
    if (strpos($text, '/start') === 0) {
        bot('sendMessage', ['chat_id' => $chat_id, 'text' => "Halo <b>$name</b>! 👋", 'parse_mode' => 'HTML']);
        bot('sendMessage', [
            'chat_id' => $chat_id, 'text' => 'Ketik /menu untuk memesan.',
            'reply_markup' => ['keyboard' => [[['text' => '/menu'], ['text' => '/cart']]], 'resize_keyboard' => true],
        ]);
        exit;
    }
    if (strpos($text, '/menu') === 0) {
        $sent = bot('sendMessage', ['chat_id' => $chat_id, 'text' => 'Menu:', 'reply_markup' => keyboard($MENU)]);
        db(function ($db) use ($chat_id, $sent) {
            $db[$chat_id]['menu_message'] = $sent['message_id'];
            return $db;
        });
        exit('ok');
    }
    if (strpos($text, '/cart') === 0) {
        $cart = db()[$chat_id]['cart'] ?? [];
        $lines = [];
        foreach ($cart as $key => $count) {
            $lines[] = "$count × " . ($MENU[$key] ?? $key);
        }
        answer('sendMessage', ['chat_id' => $chat_id, 'text' => $lines ? implode("\n", $lines) : 'Kosong.']);
    }
    if (strpos($text, '/pay') === 0) {
        bot('sendChatAction', ['chat_id' => $chat_id, 'action' => 'typing']);
        // The payment service is not up the first time somebody asks
        $ready = __DIR__ . "/payment-$chat_id";
        if (!file_exists($ready)) {
            touch($ready);
            throw new Exception('payment service not ready');
        }
        answer('sendMessage', ['chat_id' => $chat_id, 'text' => 'Bayar di kasir ya.', 'disable_notification' => true]);
    }
    if (preg_match('~^(\d+) (\w+)$~', $text, $order)) {
        $db = db(function ($db) use ($chat_id, $order) {
            $db[$chat_id]['cart'][$order[2]] = ($db[$chat_id]['cart'][$order[2]] ?? 0) + $order[1];
            $db[$chat_id]['orders'] = ($db[$chat_id]['orders'] ?? 0) + 1;
            return $db;
        });
        $count = $db[$chat_id]['orders'];
        answer('sendMessage', ['chat_id' => $chat_id, 'text' => "Pesanan #$count: {$order[1]} × {$order[2]}"]);
    }
    if ($text !== '') {
        answer('sendMessage', ['chat_id' => $chat_id, 'text' => "Maaf, saya tidak mengerti: $text"]);
    }
    exit('ok');
}

// ---- buttons -------------------------------------------------------------

if (isset($update['callback_query'])) {
    $query = $update['callback_query'];
    if (!isset($query['message']) || strpos($query['data'] ?? '', 'add:') !== 0) {
        answer('answerCallbackQuery', ['callback_query_id' => $query['id']]);
    }
    $chat_id = $query['message']['chat']['id'];
    $key = substr($query['data'], 4);
    $db = db(function ($db) use ($chat_id, $key) {
        $db[$chat_id]['cart'][$key] = ($db[$chat_id]['cart'][$key] ?? 0) + 1;
        return $db;
    });
    bot('answerCallbackQuery', ['callback_query_id' => $query['id'], 'text' => 'Ditambahkan ✅', 'show_alert' => false]);
    answer('editMessageText', [
        'chat_id' => $chat_id,
        'message_id' => $db[$chat_id]['menu_message'] ?? $query['message']['message_id'],
        'text' => 'Menu (' . array_sum($db[$chat_id]['cart']) . ' di keranjang):',
        'reply_markup' => keyboard($MENU),
    ]);
}

// ---- everything else -----------------------------------------------------

if (isset($update['inline_query'])) {
    $results = [];
    foreach ($MENU as $key => $name) {
        $results[] = [
            'type' => 'article', 'id' => $key, 'title' => $name, 'input_message_content' => ['message_text' => $name],
        ];
    }
    answer('answerInlineQuery', [
        'inline_query_id' => $update['inline_query']['id'], 'results' => $results, 'cache_time' => 0,
    ]);
}
if (isset($update['pre_checkout_query'])) {
    answer('answerPreCheckoutQuery', ['pre_checkout_query_id' => $update['pre_checkout_query']['id'], 'ok' => true]);
}
if (isset($update['shipping_query'])) {
    answer('answerShippingQuery', [
        'shipping_query_id' => $update['shipping_query']['id'], 'ok' => false, 'error_message' => 'Hanya makan di tempat.',
    ]);
}
if (isset($update['edited_message'])) {
    answer('sendMessage', ['chat_id' => $update['edited_message']['chat']['id'], 'text' => 'Pesan diubah, pesanan tidak.']);
}
if (isset($update['chat_join_request'])) {
    $request = $update['chat_join_request'];
    bot('approveChatJoinRequest', ['chat_id' => $request['chat']['id'], 'user_id' => $request['from']['id']]);
    exit;
}
if (isset($update['business_message'])) {
    $message = $update['business_message'];
    answer('sendMessage', [
        'business_connection_id' => $message['business_connection_id'], 'chat_id' => $message['chat']['id'],
        'text' => 'Kami segera membalas.',
    ]);
}
if (isset($update['my_chat_member'])) {
    // the header was forgotten here, so Telegram never takes it for a call
    echo json_encode(['method' => 'sendMessage', 'chat_id' => $update['my_chat_member']['chat']['id'], 'text' => 'Hai!']);
    exit;
}
echo 'ok';
