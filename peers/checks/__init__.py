"""What `doctor` looks at: one small class for each thing that may be wrong, with the fix to type."""
