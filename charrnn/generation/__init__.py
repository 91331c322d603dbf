"""From logits to texts: filters, draws, endings, and what was asked for. Knows no terminals."""
