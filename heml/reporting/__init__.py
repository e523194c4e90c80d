"""Tables, plots and the one HTML page."""
