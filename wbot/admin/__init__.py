"""What an operator does: money adjustments, customers, timelines, reprocessing, checks."""
