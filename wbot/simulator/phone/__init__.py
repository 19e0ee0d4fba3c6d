"""The customers' phones, as a page in the browser."""
