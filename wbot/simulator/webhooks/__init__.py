"""What Meta posts to a business: bodies, signatures, deliveries and retries."""
