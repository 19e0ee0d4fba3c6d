"""The Cloud API that businesses call: sends, media, numbers, subscriptions, and its refusals."""
