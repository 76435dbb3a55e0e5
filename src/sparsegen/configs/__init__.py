"""YAML defaults of the commands; their schemas are dataclasses beside the classes that they configure."""
