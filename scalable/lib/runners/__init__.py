"""How the bot is run, one room for each kind of bot."""
