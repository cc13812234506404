"""What the files of a package folder mean, wherever they are: in a file system, or in a bucket."""
