<?php
/*
 * Where BOT_DB_HOST (lib/queue/dialects/address.py) leads, once it is known who answers there. Included by bare_row.php.
 *
 * PDO logs in while it connects, so nobody can be asked who is at the other end of its connection, as Python does. What
 * can be looked at is the place, and PDO is given exactly that place: a path without links in folders where no stranger
 * can change it, or the number of an address. A name is looked up here alone: at the second time it may lead elsewhere.
 */

const SCALABLE_MAX_LINKS = 40;  // path_resolution(7)

/* For PDO, in the order in which to try them. Throws an Exception, when there is none that may be told the login. */
function scalable_server_places($settings)
{
    $host = $settings['BOT_DB_HOST'];
    $users = scalable_server_users($settings['BOT_DB_SERVER_USER']);
    if (strpos($host . $settings['BOT_DB_NAME'], ';') !== false) {
        throw new Exception('BOT_DB_HOST, BOT_DB_NAME: expected no semicolon');
    }
    if ($host === 'localhost' || $host[0] === '/') {
        return array('unix_socket=' . scalable_first_socket($host, $users));
    }
    if (!preg_match('/\A(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?\z/', $host, $found)) {
        throw new Exception('BOT_DB_HOST: expected host, host:port, /path/to.sock or localhost');
    }
    $port = isset($found[3]) ? (int) $found[3] : 3306;
    $places = array();
    foreach (scalable_addresses($found[1] !== '' ? $found[1] : $found[2], $port) as $address) {
        if (scalable_is_elsewhere($address) || scalable_is_servers_port($address, $port, $users)) {
            $places[] = 'host=' . (strpos($address, ':') === false ? $address : "[$address]") . ";port=$port";
        }
    }
    if (!$places) {
        throw new Exception("no server of a known user is seen at port $port, so nothing was sent there");
    }
    return $places;
}

/* Whose programs may be shown the login: fewer than Python knows (lib/queue/dialects/server_trust.py). */
function scalable_server_users($named)
{
    $users = scalable_own_users();
    foreach (array('mysql', $named) as $name) {
        $known = $name === '' ? null : scalable_allowed('posix_getpwnam', $name);
        $users[] = $known ? $known['uid'] : ($name !== '' && strspn($name, '0123456789') === strlen($name)
            ? (int) $name : null);
    }
    return array_filter($users, 'is_int');
}

/* For `localhost` one that a stranger made is passed over: else he could keep the queue from its database. */
function scalable_first_socket($host, $users)
{
    $places = $host !== 'localhost' ? array($host) : array((string) ini_get('pdo_mysql.default_socket'),
        '/var/lib/mysql/mysql.sock', '/run/mysqld/mysqld.sock', '/var/run/mysqld/mysqld.sock', '/tmp/mysql.sock');
    foreach ($places as $path) {
        $socket = $path === '' || $path[0] !== '/' ? null : scalable_servers_socket($path, $users);
        if ($socket !== null) {
            return $socket;
        }
    }
    throw new Exception('BOT_DB_HOST: no socket of a server is seen there, so nothing was sent');
}

/*
 * The path of the server's socket without links; null where there is none, or who might be there instead.
 *
 * A known user made it, and no stranger can put another one there. Or he made it in whose folder it is, when beside
 * him nobody can write on the way.
 */
function scalable_servers_socket($path, $users)
{
    $way = scalable_way_to($path);
    if ($way === null || ($way['end']['mode'] & 0170000) !== 0140000) {
        return null;
    }
    $owner = $way['end']['uid'];
    $makers = array_merge(array_column($way['folders'], 'uid'), array_column($way['links'], 'uid'));
    $is_known = in_array($owner, $users, true);
    $mine = $is_known ? $users : array_merge(scalable_own_users(), array($owner));
    foreach ($way['folders'] as $state) {
        $is_sticky = $is_known && ($state['mode'] & 01000);  // what is there is moved by its owner alone
        if (($state['mode'] & 022) && !$is_sticky) {
            return null;
        }
    }
    $folder = end($way['folders']);
    $is_safe = !array_diff($makers, $mine) && ($is_known || $folder['uid'] === $owner);
    return $is_safe && strlen($way['path']) <= SCALABLE_MAX_PATH && strpos($way['path'], ';') === false
        ? $way['path'] : null;
}

/* Links are followed one by one: every folder in which a part is looked up, every link, and what is at the end. */
function scalable_way_to($path)
{
    clearstatcache(true);
    $way = array('folders' => array(), 'links' => array(), 'path' => '/', 'end' => @lstat('/'));
    for ($parts = explode('/', $path); $parts;) {
        $part = array_shift($parts);
        if ($part === '' || $part === '.') {
            continue;
        }
        $way['folders'][] = $way['end'];
        $place = $part === '..' ? dirname($way['path']) : rtrim($way['path'], '/') . "/$part";
        $state = @lstat($place);
        if (!$state || !$way['end']) {
            return null;
        }
        if (($state['mode'] & 0170000) !== 0120000) {
            $way['path'] = $place;
            $way['end'] = $state;
            continue;
        }
        $way['links'][] = $state;
        $target = (string) scalable_allowed('readlink', $place);
        if ($target === '' || count($way['links']) > SCALABLE_MAX_LINKS) {
            return null;
        }
        if ($target[0] === '/') {
            $way['path'] = '/';
            $way['end'] = @lstat('/');
        }
        $parts = array_merge(explode('/', $target), $parts);
    }
    return $way;
}

/* The addresses of a name as numbers in their usual form. */
function scalable_addresses($name, $port)
{
    $number = @inet_pton($name);
    if ($number !== false) {
        return array(scalable_plain_address($number));
    }
    $found = array();
    // The one that a program would take first, IPv6 as well: to connect by UDP sends nothing.
    $link = scalable_allowed('stream_socket_client', "udp://$name:$port");
    if ($link) {
        $place = (string) stream_socket_get_name($link, true);
        $found[] = @inet_pton(trim(substr($place, 0, (int) strrpos($place, ':')), '[]'));
    }
    foreach ((array) scalable_allowed('gethostbynamel', $name) as $address) {
        $found[] = @inet_pton($address);
    }
    $found = array_filter($found, 'is_string');
    return array_values(array_unique(array_map('scalable_plain_address', $found)));
}

/* Where the kernel leads to: IPv4 written as IPv6 is IPv4, and that of no machine is this one. */
function scalable_plain_address($number)
{
    if (strlen($number) === 16 && strncmp($number, str_repeat("\0", 10) . "\xff\xff", 12) === 0) {
        $number = substr($number, 12);
    }
    if (trim($number, "\0") === '') {
        return strlen($number) === 4 ? '127.0.0.1' : '::1';
    }
    return inet_ntop($number);
}

/* Whether it is of another machine: nobody can take it here, while others can be. In doubt it is of this one. */
function scalable_is_elsewhere($address)
{
    $own = strpos($address, ':') === false ? '127.0.0.1' : '::1';
    return !scalable_can_take($address) && scalable_can_take($own);
}

function scalable_can_take($address)
{
    $place = strpos($address, ':') === false ? $address : "[$address]";
    return function_exists('stream_socket_server')
        && (bool) @stream_socket_server("udp://$place:0", $error, $text, STREAM_SERVER_BIND);
}

/* Whether the program that listens there is of these users (proc(5), net/tcp). */
function scalable_is_servers_port($address, $port, $users)
{
    $tables = @file_get_contents('/proc/net/tcp') . @file_get_contents('/proc/net/tcp6');
    $is_4 = strpos($address, ':') === false;
    // The kernel takes who listens at this very address, before who does at all of IPv4, before who does at all.
    $kinds = $is_4 ? array(array($address, "::ffff:$address"), array('0.0.0.0', '::ffff:0.0.0.0'), array('::'))
        : array(array($address), array('::'));
    foreach ($kinds as $same) {
        $forms = implode('|', array_map('scalable_in_table', $same));
        // local address, remote address, state: listens, queues, timer, retransmits, user
        $line = sprintf('/ (?:%s):%04X [0-9A-F]+:[0-9A-F]+ 0A \S+ \S+ \S+ +(\d+) /', $forms, $port);
        if (preg_match_all($line, $tables, $found)) {
            return !array_diff(array_map('intval', $found[1]), $users);
        }
    }
    return false;
}

/* As the tables have it: each four bytes as one number of this machine. */
function scalable_in_table($address)
{
    $text = '';
    foreach (unpack('L*', inet_pton($address)) as $word) {
        $text .= sprintf('%08X', $word);
    }
    return $text;
}
