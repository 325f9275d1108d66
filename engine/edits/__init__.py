"""Edited states and forks: what is saved so that a job goes on from it."""
