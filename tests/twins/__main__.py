"""Run the corpus."""
