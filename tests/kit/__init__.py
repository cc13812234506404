"""What tests of several folders share: the real server, upstreams that misbehave, forms, users."""
