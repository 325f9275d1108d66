"""What a run would do: nodes in their order, models, inputs, and what past jobs cost."""
