"""The parameters of runs, validated. Imports no torch, so that the App's forms open fast."""
