"""Examples: ordinary apps with uploads. `script/example flask` runs one. Not part of the wheel."""
