"""Exact Recall@K and ScaNN beside peers and a floor."""
