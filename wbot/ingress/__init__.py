"""Accepts connections and request bodies within limits, for every server of wbot."""
