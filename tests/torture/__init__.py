"""The torture test: real `wbot serve` processes, killed repeatedly, and a judge of the results."""
