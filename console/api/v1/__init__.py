"""ucop's own API, under `/api/v1`: a module for each family of routes."""
