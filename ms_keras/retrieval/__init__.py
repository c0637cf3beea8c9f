"""Retrieval: exact search, scores, and pictures of neighbours."""
