"""``rlaws fit``: a user's training logs in; forecasts, advice and judged claims out, as plain values in one folder."""
