"""The foundation on an existing cluster, in a data centre of one's own."""
