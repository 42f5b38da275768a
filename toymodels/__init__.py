"""Small transformers trained on the spot: model, sampling, cost. Import the modules; only they bring torch in."""
