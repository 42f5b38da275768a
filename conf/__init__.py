"""The shipped configuration: claims, studies and what they are composed of."""
