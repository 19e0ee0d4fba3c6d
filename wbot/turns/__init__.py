"""From the stored message to the reply in the outbox, one conversation at a time."""
