"""Forecasts of training curves: competing laws weighed by what they foretold, honest bands, and advice.

``bands.forecast`` is the way in; ``targets.reach``, ``stopping.advise``, ``bends.turn`` and ``bends.diagnose``,
``families.family`` and ``scoring.score`` build on it. See docs/forecast.md.
"""

from rlaws.forecast.bands import Forecast, disagreement, forecast, forecast_links
from rlaws.forecast.bends import Bend, BentError, Diagnosis, diagnose, turn
from rlaws.forecast.curves import Curve, Metric
from rlaws.forecast.families import Family, FamilyForecast, extrapolate, family
from rlaws.forecast.scoring import Row, Score, score, table
from rlaws.forecast.stopping import Advice, Option, advise
from rlaws.forecast.targets import Reach, reach

__all__ = [
    "Advice",
    "Bend",
    "BentError",
    "Curve",
    "Diagnosis",
    "Family",
    "FamilyForecast",
    "Forecast",
    "Metric",
    "Option",
    "Reach",
    "Row",
    "Score",
    "advise",
    "diagnose",
    "disagreement",
    "extrapolate",
    "family",
    "forecast",
    "forecast_links",
    "reach",
    "score",
    "table",
    "turn",
]
