"""Examples: ordinary apps with uploads. `script/example NAME` runs one. Not part of the wheel."""
