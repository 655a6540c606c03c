"""The run of ``maskbridge predict``: its images, its journal, its result files."""
