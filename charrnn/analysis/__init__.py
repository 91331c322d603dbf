"""From texts to numbers: scores, states, what units follow, how far back they remember. Knows no colours."""
