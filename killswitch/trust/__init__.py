"""Keys, signatures and votes: who may say what, and how anybody checks it. Pure, but for files of keys."""
