"""Many models on the same labelled radiographs: one table, with intervals and paired tests."""
