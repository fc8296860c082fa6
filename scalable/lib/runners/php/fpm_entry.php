<?php
/*
 * The main script of a request to the host's own PHP-FPM: it puts the prelude before the bot, and then includes the bot.
 * Only so that concerns this one request: a setting that comes with one (auto_prepend_file) would stay in the process.
 *
 * The worker names the bot in the variable SCALABLE_RUN, as prelude.php has it; without that this does nothing.
 */

require __DIR__ . '/prelude.php';
if (ScalablePrelude::$bot !== '') {
    require ScalablePrelude::$bot;
}
