"""A parameter file to start from, made of a folder of photographs: what lies there, what may be asked of it, and a tree
of its parts."""
