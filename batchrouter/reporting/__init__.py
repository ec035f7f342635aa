"""What happened, in figures first: numbers from the views, then ways to show them."""
