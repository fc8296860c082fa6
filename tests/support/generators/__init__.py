"""What makes inputs: bots, visitors, clients, and how many of them."""
