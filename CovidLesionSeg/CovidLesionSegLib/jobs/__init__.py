"""The worker process and its JSON-lines protocol."""
