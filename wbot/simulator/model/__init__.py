"""The model endpoint."""
