"""Tasks in tokens: programs, the vocabulary, families, and the exact grading of responses."""

from toymodels.tasks.families import BooleanCircuit, Mixture, ReflectionChain, join
from toymodels.tasks.programs import Program, Step, from_chain, to_chain
from toymodels.tasks.task import Reading, Task, Verifier, label_noise, make_task
from toymodels.tasks.vocabulary import Vocabulary

__all__ = [
    "BooleanCircuit",
    "Mixture",
    "Program",
    "Reading",
    "ReflectionChain",
    "Step",
    "Task",
    "Verifier",
    "Vocabulary",
    "from_chain",
    "join",
    "label_noise",
    "make_task",
    "to_chain",
]
