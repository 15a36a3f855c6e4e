"""What only the command line calls: notebooks executed, models examined, claims held against runs, the book. Nothing else in the core imports this."""
