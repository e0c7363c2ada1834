"""The record of what agents did and what was done about them: one ordered, tamper-evident sequence of entries."""
