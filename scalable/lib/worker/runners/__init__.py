"""Ways to run the bot, one file each."""
