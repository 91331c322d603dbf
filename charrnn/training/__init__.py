"""The only folder that imports torch: models, gradients, optimizers, the loop, and the recipe for a run."""
