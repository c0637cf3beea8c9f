"""Time and memory of the losses beside peers and a floor."""
