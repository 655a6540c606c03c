"""Instances in the forms of other libraries, behind the methods of `Instances`."""
