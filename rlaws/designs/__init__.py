"""Designs that reach a verdict: candidate runs, planted laws, and the search for the cheapest that tells."""
