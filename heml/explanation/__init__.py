"""Why two images are similar: the distance at every node, what each node sees, and pictures of both."""
