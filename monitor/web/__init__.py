"""The daemon's HTTP and websocket edge. It translates and checks; what happens is decided elsewhere."""
