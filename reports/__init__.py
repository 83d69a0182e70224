"""What people look at: tables, figures and documents made from stored runs alone."""
