"""What a stack needs from the internet, and its way behind an air gap."""
