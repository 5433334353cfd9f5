"""A destroy that ends: what Pulumi does not know goes first, in order; what is protected is refused."""
