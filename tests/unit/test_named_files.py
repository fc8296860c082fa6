"""F1 and F4 behind an autoloader: which files of the folder are the bot's, as far as their names tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.runners.php.bot_source import read_bot_source
from scalable.lib.runners.php.named_files import class_names, php_files, texts
from scalable.lib.runners.php.tokens import tokens_of

LOADER = "spl_autoload_register('load');"
HEADER = "$_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN']"
COMPARES = f"if ({HEADER} !== 'mine') exit;"


def write(folder: Path, **files: str) -> Path:
    """src__Bot_php is src/Bot.php."""
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_php", ".php")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"<?php {text}")
    return folder / "bot.php"


def test_classes_and_texts_are_what_the_code_names() -> None:
    code = tokens_of("<?php use App\\Http\\Kernel; new \\Bot; Log::put('parts/Hello.php'); class A extends B {} run();")

    assert set(class_names(code)) == {"kernel", "bot", "log", "b"}
    assert set(texts(code)) == {"hello"}


def test_files_of_libraries_hidden_ones_and_ours_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, bot_php="", src__Bot_php="", vendor__a__Bot_php="", node_modules__Bot_php="", scalable__x_php="")
    (tmp_path / "scalable" / "worker_pool.py").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "Bot.php").touch()

    assert {name: len(found) for name, found in php_files([str(tmp_path)]).items()} == {"bot": 2}


@pytest.mark.parametrize(
    "code",
    [
        f"{LOADER} (new Kernel)->run();",
        f"{LOADER} \\App\\Kernel::run();",
        "require __DIR__ . '/vendor/autoload.php'; use App\\Kernel; new Kernel;",
        "foreach (['Kernel'] as $part) require \"src/$part.php\";",
        f"{LOADER} new Shell;",
    ],
)
def test_f4_a_class_that_compares_the_secret_is_found(tmp_path: Path, code: str) -> None:
    """F4: with the value that is in it."""
    bot = write(tmp_path, bot_php=code, src__Kernel_php=COMPARES, src__Shell_php="class Shell extends Kernel {}")

    source = read_bot_source(bot)

    assert (str(source.signs.secret), source.signs.secret_values) == ("src/Kernel.php, line 1", {"mine"})
    assert not source.is_complete
    assert source.is_current
    write(tmp_path, src__Kernel_php="")
    assert not source.is_current


@pytest.mark.parametrize(
    "code",
    [
        "(new Kernel)->run();",  # nothing is included
        f"{LOADER} echo 'Kernel';",  # an autoloader is asked for classes
        f"{LOADER} new KernelOfAnother;",
        "require $part; // Kernel",
    ],
)
def test_f4_a_file_that_the_bot_does_not_name_is_another_bots(tmp_path: Path, code: str) -> None:
    """F4: a folder may have several bots."""
    assert read_bot_source(write(tmp_path, bot_php=code, src__Kernel_php=COMPARES)).signs.secret is None


def test_of_a_file_that_is_only_named_by_a_text_a_query_and_polling_do_not_count(tmp_path: Path) -> None:
    admin = "if (empty($_GET['page'])) exit; $bot->getUpdates();"
    bot = write(tmp_path, bot_php="require $part; if ($user === 'admin') greet();", admin_php=admin)

    assert (read_bot_source(bot).signs.query_gate, read_bot_source(bot).signs.polls) == (None, None)


def test_a_folder_with_more_files_than_a_bot_has_is_not_walked_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scalable.lib.runners.php.named_files.MAX_ENTRIES", 3)
    write(tmp_path, bot_php="", a__one_php="", a__two_php="", a__three_php="", a__four_php="")

    assert set(php_files([str(tmp_path)])) == {"bot"}
