"""What a project declares of its queues, webhooks and the time for which jobs are kept."""
