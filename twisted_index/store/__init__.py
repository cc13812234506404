"""Taking files into the folder, and changing what is there, as plain files that an editor could have made."""
