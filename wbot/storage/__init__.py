"""SQL and nothing else: plain functions over a connection; the caller makes the transaction."""
