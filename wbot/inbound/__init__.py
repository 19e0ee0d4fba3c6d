"""From the HTTP request to the row on disk: signature, payload, intake."""
