"""Images: where they come from, how they are decoded, and the geometry that the models see."""
