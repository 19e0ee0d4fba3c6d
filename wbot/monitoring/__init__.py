"""What runs beside the flow inside `serve`: health, metrics, the ledger audit, change polling."""
