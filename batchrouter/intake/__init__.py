"""From bytes to records: inputs are opened, split into lines, read and checked here, and the configuration file too."""
