"""The long jobs: one generator each."""
