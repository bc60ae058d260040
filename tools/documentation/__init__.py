"""What `tools.docs` fills the generated parts of the documentation with."""
