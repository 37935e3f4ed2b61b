"""Small games for students, after the PyGame Learning Environment: a file each, and what they share."""
