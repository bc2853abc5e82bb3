"""Listening tests of explanations: pages for participants, and their scores."""
