"""How an update comes in: one pipeline, and the ways in as thin adapters of it."""
