"""CEL in admission: the variables that expressions see, match conditions, and budgets."""
