"""x."""
def main(): pass
