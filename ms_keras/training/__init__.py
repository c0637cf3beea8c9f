"""Training: strategy, optimizers, schedules, callbacks."""
