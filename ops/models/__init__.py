"""``python -m ops models``: what a stack serves, promotions and the way back, and where a model comes from."""
