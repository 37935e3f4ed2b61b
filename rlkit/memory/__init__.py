"""What agents remember: rollouts of the newest steps, replay of the last many."""
