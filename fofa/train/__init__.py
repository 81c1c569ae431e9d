"""Training a supernet: plan, steps, checkpoints, processes.

One direction: settings and a recipe become a plan (`plan`), the trainer carries it out step by step
(`trainer`), and what it leaves is a run folder (`fofa.runs`).
"""
