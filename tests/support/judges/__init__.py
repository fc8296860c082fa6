"""What says whether a run, a file or a document is right."""
