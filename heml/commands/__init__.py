"""The commands of `heml`, a module each: `add` says what a command takes, `run` does it. What is slow is imported by
`run` alone."""
