"""What installers and people meet: the Site, its resources, and the bytes that leave."""
