"""From the outbox to the Graph API, in order within a conversation."""
