"""Values as they are stored, and the classes that may be."""
