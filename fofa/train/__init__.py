"""Training a supernet: settings, plan, steps, checkpoints.

One direction: settings and a recipe become a plan (`schedule`), the trainer carries it out step by
step (`trainer`), and what it leaves is a run folder (`fofa.runs`).
"""
