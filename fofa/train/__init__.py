"""Training a supernet: plan, steps, checkpoints, processes.

One direction: settings and a recipe become a plan (`plan`), the trainer carries it out step by step
(`trainer`), and what it leaves is a run folder (`fofa.runs`).
"""

from fofa.train.plan import PhasePlan, TrainPlan
from fofa.train.settings import TrainSettings
from fofa.train.trainer import DivergedError, Trainer

__all__ = ["DivergedError", "PhasePlan", "TrainPlan", "TrainSettings", "Trainer"]
