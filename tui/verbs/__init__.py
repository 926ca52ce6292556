"""One module a command; tui/commands.py names them."""
