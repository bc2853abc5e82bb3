"""From a command line and a YAML file to the parts of an experiment."""
