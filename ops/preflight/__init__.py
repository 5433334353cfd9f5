"""Before ``up``: whether the account can take the stack."""
