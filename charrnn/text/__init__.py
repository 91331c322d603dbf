"""Characters: files and arguments to code points, code points to ids, ids to batches. Knows no networks."""
