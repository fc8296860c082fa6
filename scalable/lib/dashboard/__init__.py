"""The page, its JSON and metrics, its buttons, and the same in a shell."""
