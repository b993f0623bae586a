"""What the programs in `experiments` share."""
