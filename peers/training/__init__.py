"""What a peer computes between two rounds, in each mode, and the trainer's loop."""
