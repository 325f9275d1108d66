"""What else the job database keeps: memories, answers, turns of models, meshes."""
