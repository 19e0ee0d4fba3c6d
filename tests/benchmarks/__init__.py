"""What is measured, by hand and before a release."""
