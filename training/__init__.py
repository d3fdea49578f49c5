"""From data to weights to the table: datasets, training loops and evaluation."""
