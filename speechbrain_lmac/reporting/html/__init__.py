"""A page of an evaluation: tables, and clips to hear and to see."""
