"""Data: protocols, P x K batches, and image preprocessing."""
