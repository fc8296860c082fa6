"""What knows the machine this installation lives on: its data folder, its shell, its doctor."""
