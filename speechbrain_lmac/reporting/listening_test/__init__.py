"""A listening test of explanations: its pages, and what people say."""
