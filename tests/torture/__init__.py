"""The torture: real `wbot serve` processes, killed over and over, and a judge of what they kept."""
