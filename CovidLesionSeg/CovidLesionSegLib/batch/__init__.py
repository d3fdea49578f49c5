"""Many CTs into one folder of results: found, run, resumed, summed up."""
