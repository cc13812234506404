"""The file system, as blocking calls: stamps, safe opening, files without a name, locks."""
