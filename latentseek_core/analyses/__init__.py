"""What only the notebooks call: answers taken apart, searches replayed, methods cut at one budget. Nothing else in the core imports this."""
