"""What a network is: the equations, the fast path, initial weights, checkpoints and run directories."""
