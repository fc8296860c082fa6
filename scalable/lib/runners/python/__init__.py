"""Python bots whose function is called inside the worker."""
