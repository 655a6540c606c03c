"""What commands print: tables of their results."""
