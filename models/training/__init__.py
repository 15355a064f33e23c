"""Training a geocell model: recipes, tasks, checkpoints, schedules."""
