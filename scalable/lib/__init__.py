"""Everything the entry scripts are wired from; nothing here reads the environment or imports an entry script."""
