"""Applications' objects at every site that keeps them: how far one is behind the other, and in what they differ."""
