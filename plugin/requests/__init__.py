"""What a run is asked to do, checked. Imports no torch: forms and delegated runs are made of it."""
