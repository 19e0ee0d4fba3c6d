"""What the people who run it look at: health and metrics."""
