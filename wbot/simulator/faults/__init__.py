"""How endpoints and deliveries fail on demand."""
