"""What `killcord doctor` looks at: small checks that read, never write, and say in one sentence what to do."""
