"""How good is a network? One file an evaluator; `evaluator` holds the seam."""
