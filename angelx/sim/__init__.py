"""Virtual time: the production wiring on a loop whose clock jumps."""
