"""Workflows as pictures: text, Mermaid, DOT, SVG."""
