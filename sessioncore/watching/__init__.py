"""What watches calls from outside: event log, live lines, outcome, the walk, diagrams."""
