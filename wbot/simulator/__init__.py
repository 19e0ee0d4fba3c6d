"""A Cloud API, a model endpoint and a Meta on loopback, with faults on demand and a phone page."""
