"""Pictures and tables of what pair losses weigh, and of what training changes."""
