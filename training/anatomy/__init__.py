"""The fitted anatomy: the lobe atlas and the tables of lungs and lobes."""
