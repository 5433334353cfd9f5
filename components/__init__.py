"""What the program is made of: settings, a foundation for each cloud, the platform on top."""
