"""Other indexes: asked over HTTP, cached, and trusted in nothing that can be checked."""
