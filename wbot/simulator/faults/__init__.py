"""Fault injection for endpoints and deliveries."""
