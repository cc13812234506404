"""Downloads: counted, kept in plain files, summed for people."""
