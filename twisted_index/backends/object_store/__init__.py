"""Projects in a bucket of an object store: Amazon S3 and what speaks its protocol, Azure, Google."""
