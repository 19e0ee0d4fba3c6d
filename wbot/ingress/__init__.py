"""How everything of ours that listens takes connections and request bodies, within limits."""
