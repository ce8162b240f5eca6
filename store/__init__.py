"""The only place that touches the disk: data sets in, results out, each file whole or absent."""
