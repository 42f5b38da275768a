"""Measured data of real models as recorded policies: public tables, the user's own, and numbers printed in papers."""
